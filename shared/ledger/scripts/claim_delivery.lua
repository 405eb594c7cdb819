-- Lease the delivery that is due longest, of a receiver that may be posted to. An expired lease makes it due again:
-- at least once, by design.
-- ARGV: token, lease in ms, webhook queue, most attempts to remember, receivers that may not be posted to now...
-- Returns {job id, receiver, attempts made before this one, bells to ring, ms since the job ended or '' for a replay}, or
-- {} if none is due.
local now, occupied = now_ms(), {}
for i = 5, #ARGV do occupied[ARGV[i]] = true end
local receiver
for _, each in ipairs(redis.call('ZRANGEBYSCORE', key('receivers'), '-inf', now, 'LIMIT', 0, #ARGV - 3)) do
  if not occupied[each] then
    receiver = each
    break
  end
end
if not receiver then return {} end

local id = redis.call('ZRANGE', key('outbox', receiver), 0, 0)[1]
post_at(now + ARGV[2], id, receiver)
if redis.call('HDEL', key('delivery', id), 'again') == 1 then
  redis.call('HSET', key('delivery', id), 'attempts', 0)
end
local attempts = redis.call('HINCRBY', key('delivery', id), 'attempts', 1)
redis.call('HSET', key('delivery', id), 'token', ARGV[1], 'state', 'sending')
-- Written down before it is made: an attempt that is cut off is remembered too.
redis.call('RPUSH', key('attempts', id), now)
redis.call('LTRIM', key('attempts', id), -ARGV[4], -1)
local owed_ms = ''
if redis.call('HEXISTS', key('delivery', id), 'asked') == 0 then
  owed_ms = tostring(now - (redis.call('HGET', key('job', id), 'finished_ms') or now))
end
return {id, receiver, tostring(attempts - 1), webhook_bells(ARGV[3], now), owed_ms}
