-- Count a request of an API key, unless it comes too early (GCRA, a leaky bucket that keeps one number).
-- ARGV: tenant, key id, us that one request takes of the key's time, us of its time that may be taken at once
-- Returns 0, or in how many us the next request is taken.
local name = key('rate', ARGV[1], ARGV[2])
local every, burst = tonumber(ARGV[3]), tonumber(ARGV[4])

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local taken = tonumber(redis.call('GET', name) or '0') -- up to when requests have taken it
local rounding = 1
if taken < now or taken > now + burst + rounding then taken = now end -- long ago, or under a lower limit

taken = taken + every
if taken > now + burst + rounding then return math.ceil(taken - burst - now) end
redis.call('SET', name, exact(taken), 'PX', math.ceil((taken - now) / 1000))
return 0
