-- A tenant's dead deliveries, the newest first.
-- ARGV: tenant, how many to pass over, most of them in one call
-- Returns {how many there are, then for each: job id, when it was given up, attempts, what was said last}.
local dead = key('dead', ARGV[1])
redis.call('ZREMRANGEBYSCORE', dead, '-inf', now_ms())
local found = {redis.call('ZCARD', dead)}
for _, id in ipairs(redis.call('ZREVRANGE', dead, ARGV[2], ARGV[2] + ARGV[3] - 1)) do
  local delivery = redis.call('HMGET', key('delivery', id), 'ended_ms', 'attempts', 'answer')
  if delivery[1] then found[#found + 1] = {id, delivery[1], delivery[2], delivery[3]} end
end
return found
