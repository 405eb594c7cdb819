-- Take back what vanished workers held, and end what is overdue. Safe to run from anywhere, any number of times.
-- ARGV: attempt limit, outcome of a job past it (JSON), outcome of a cancelled one (JSON), outcome of an overdue one
--       (JSON), gpu queues, webhook queue, most jobs to handle of each kind in one call, lease in ms, longest time
--       between two sweeps in ms while all is well
-- Returns {requeued, failed, cancelled, overdue, bells to ring}.
local now, most, lease_ms = now_ms(), tonumber(ARGV[7]), tonumber(ARGV[8])
local requeued, failed, cancelled, overdue = 0, 0, 0, 0

-- For so long after the last pool has gone, models are not loaded on GPUs that they may not fit.
local ABSENT_POOLS_LIFE_S = 24 * 3600

-- Nobody has swept for a while, or time has gone backwards: this server was away, or its clock was set. Beats could
-- not come either, so no worker has vanished by that: all leases begin anew.
local swept = tonumber(redis.call('GET', key('swept')) or now)
redis.call('SET', key('swept'), exact(now))
if now < swept or now - swept > tonumber(ARGV[9]) then
  for _, leased in ipairs({'leases', 'presence', 'pool_presence'}) do
    for _, one in ipairs(redis.call('ZRANGE', key(leased), 0, -1)) do
      redis.call('ZADD', key(leased), now + lease_ms, one)
    end
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, most)) do
  local was_away = redis.call('SISMEMBER', key('away'), id) == 1
  if was_away then
    redis.call('HINCRBY', key('job', id), 'attempts', -1) -- it was not tried here
  else
    redis.call('HINCRBY', key('totals'), 'expired', 1)
  end
  local job = redis.call('HMGET', key('job', id), 'attempts', 'cancel')
  local left = tonumber(ARGV[1]) - tonumber(job[1])
  redis.call('HDEL', key('job', id), 'token') -- from here on the vanished worker's finish is refused
  if job[2] then
    settle(id, 'cancelled', ARGV[3], now)
    cancelled = cancelled + 1
  elseif left <= 0 then
    settle(id, 'failed', ARGV[2], now)
    failed = failed + 1
  else
    -- Jobs that a worker held together vanish together, so each is suspected of the others' losses. Before the last
    -- attempt ends one that is innocent, it is made alone.
    if left == 1 and not was_away then redis.call('HSET', key('job', id), 'suspect', '1') end
    enqueue(id)
    requeued = requeued + 1
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('deadlines'), '-inf', now, 'LIMIT', 0, most)) do
  dequeue(id, redis.call('HGET', key('job', id), 'model'))
  redis.call('HDEL', key('job', id), 'token') -- its worker hears that the lease is lost
  settle(id, 'failed', ARGV[4], now)
  overdue = overdue + 1
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('presence'), '-inf', now)) do
  redis.call('ZREM', key('presence'), worker)
  redis.call('HDEL', key('workers'), worker)
end
for _, pool in ipairs(redis.call('ZRANGEBYSCORE', key('pool_presence'), '-inf', now)) do
  redis.call('ZREM', key('pool_presence'), pool)
  redis.call('HSET', key('absent_pools'), pool, redis.call('HGET', key('pools'), pool))
  redis.call('EXPIRE', key('absent_pools'), ABSENT_POOLS_LIFE_S)
  redis.call('HDEL', key('pools'), pool)
end
local bells = gpu_bells(ARGV[5])
for _, queue in ipairs(webhook_bells(ARGV[6], now)) do bells[#bells + 1] = queue end
return {requeued, failed, cancelled, overdue, bells}
