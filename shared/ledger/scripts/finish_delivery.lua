-- Record what became of one attempt of a delivery, if the caller still holds it.
-- ARGV: job id, token, 'delivered' | 'retry' | 'dead', ms until the retry, what the receiver said
-- Returns 'recorded' | 'lost'.
local id, token, verdict = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', key('delivery', id), 'token') ~= token then return 'lost' end
local now = now_ms()
redis.call('HDEL', key('delivery', id), 'token')
redis.call('HSET', key('delivery', id), 'answer', ARGV[5])
if verdict == 'retry' then
  redis.call('HSET', key('delivery', id), 'state', 'due')
  redis.call('ZADD', key('outbox'), now + ARGV[4], id)
  return 'recorded'
end
redis.call('HSET', key('delivery', id), 'state', verdict)
redis.call('ZREM', key('outbox'), id)
local retention_ms = redis.call('HGET', key('job', id), 'retention_ms')
redis.call('ZREMRANGEBYSCORE', key('dead'), '-inf', now - retention_ms)
if verdict == 'dead' then redis.call('ZADD', key('dead'), now, id) end
redis.call('PEXPIRE', key('job', id), retention_ms)
redis.call('PEXPIRE', key('delivery', id), retention_ms)
return 'recorded'
