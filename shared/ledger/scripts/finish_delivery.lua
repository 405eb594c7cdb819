-- Record what became of one attempt of a delivery, if the caller still holds it.
-- ARGV: job id, token, 'delivered' | 'retry' | 'dead' | 'later' (it was not tried), ms until it is due again, what was said, ms that it took
-- Returns 'recorded' | 'lost'.
local id, token, verdict = ARGV[1], ARGV[2], ARGV[3]
local delivery = redis.call('HMGET', key('delivery', id), 'token', 'receiver', 'again')
if delivery[1] ~= token then return 'lost' end
local now, receiver = now_ms(), delivery[2]
redis.call('HDEL', key('delivery', id), 'token', 'again')
redis.call('HSET', key('delivery', id), 'answer', ARGV[5])
local begun = redis.call('LINDEX', key('attempts', id), -1)
if begun and verdict ~= 'later' then redis.call('LSET', key('attempts', id), -1, begun .. ' ' .. ARGV[6] .. ' ' .. ARGV[5]) end

if verdict ~= 'delivered' and delivery[3] then -- a replay was asked for meanwhile
  owe(id, receiver, now)
  return 'recorded'
end
if verdict == 'later' then
  redis.call('HINCRBY', key('delivery', id), 'attempts', -1)
  redis.call('RPOP', key('attempts', id))
end
if verdict == 'retry' or verdict == 'later' then
  redis.call('HSET', key('delivery', id), 'state', 'due')
  post_at(now + ARGV[4], id, receiver)
  return 'recorded'
end
redis.call('HSET', key('delivery', id), 'state', verdict, 'ended_ms', now)
stop_posting(id, receiver)
-- The record may have been removed by hand; then the delivery goes with it.
local job = redis.call('HMGET', key('job', id), 'retention_ms', 'tenant')
local ends_at = now + (job[1] or '1')
redis.call('ZREMRANGEBYSCORE', key('dead'), '-inf', now)
if verdict == 'dead' and job[2] then
  redis.call('ZADD', key('dead'), ends_at, id)
  redis.call('ZADD', key('dead', job[2]), ends_at, id)
  redis.call('ZREMRANGEBYSCORE', key('dead', job[2]), '-inf', now)
  redis.call('PEXPIREAT', key('dead', job[2]), redis.call('ZRANGE', key('dead', job[2]), -1, -1, 'WITHSCORES')[2])
end
for _, kept in ipairs({'job', 'delivery', 'attempts'}) do redis.call('PEXPIREAT', key(kept, id), ends_at) end
return 'recorded'
