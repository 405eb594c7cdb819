-- Record what became of one attempt of a delivery, if the caller still holds it.
-- ARGV: job id, token, 'delivered' | 'retry' | 'postponed' | 'dead', ms until it is due again, what was said
-- A postponed attempt was not made and does not count.
-- Returns 'recorded' | 'lost'.
local id, token, verdict = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', key('delivery', id), 'token') ~= token then return 'lost' end
local now = now_ms()
redis.call('HDEL', key('delivery', id), 'token')
redis.call('HSET', key('delivery', id), 'answer', ARGV[5])
if verdict == 'postponed' then redis.call('HINCRBY', key('delivery', id), 'attempts', -1) end
if verdict == 'retry' or verdict == 'postponed' then
  redis.call('HSET', key('delivery', id), 'state', 'due')
  redis.call('ZADD', key('outbox'), now + ARGV[4], id)
  return 'recorded'
end
redis.call('HSET', key('delivery', id), 'state', verdict)
redis.call('ZREM', key('outbox'), id)
-- The record may have been removed by hand; then the delivery goes with it.
local retention_ms = tonumber(redis.call('HGET', key('job', id), 'retention_ms') or '1')
redis.call('ZREMRANGEBYSCORE', key('dead'), '-inf', now - retention_ms)
if verdict == 'dead' then redis.call('ZADD', key('dead'), now, id) end
redis.call('PEXPIRE', key('job', id), retention_ms)
redis.call('PEXPIRE', key('delivery', id), retention_ms)
return 'recorded'
