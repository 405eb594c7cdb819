-- Take back what vanished workers held. Safe to run from anywhere, any number of times.
-- ARGV: attempt limit, outcome of a job past it (JSON), outcome of a cancelled one (JSON), gpu queue,
--       webhook queue, most leases to handle in one call
-- Returns {requeued, failed, cancelled, gpu bell wanted, webhook bell wanted}.
local now = now_ms()
local requeued, failed, cancelled = 0, 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', now, 'LIMIT', 0, ARGV[6])) do
  local job = redis.call('HMGET', key('job', id), 'attempts', 'cancel')
  redis.call('HDEL', key('job', id), 'token') -- from here on the vanished worker's finish is refused
  if job[2] then
    settle(id, 'cancelled', ARGV[3], now)
    cancelled = cancelled + 1
  elseif tonumber(job[1]) >= tonumber(ARGV[1]) then
    settle(id, 'failed', ARGV[2], now)
    failed = failed + 1
  else
    enqueue(id)
    requeued = requeued + 1
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('presence'), '-inf', now)) do
  redis.call('ZREM', key('presence'), worker)
  redis.call('HDEL', key('workers'), worker)
end
return {requeued, failed, cancelled, gpu_bell_wanted(ARGV[4]), webhook_bell_wanted(ARGV[5], now)}
