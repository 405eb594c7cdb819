-- Renew a worker's leases and its presence.
-- ARGV: worker, presence in ms, facts about the worker (JSON), lease in ms, its pool, what that serves, then id, token,
--       progress for each job
-- Returns {tokens whose lease is lost, tokens of jobs to cancel, orders (name, times given, ...)}. One worker may
-- hold a job twice: by an old token that it does not know to be lost yet, and by the new one.
local now = now_ms()
redis.call('HSET', key('workers'), ARGV[1], ARGV[3])
redis.call('HSET', key('pools'), ARGV[5], ARGV[6])
if redis.call('ZADD', key('pool_presence'), now + ARGV[2], ARGV[5]) == 1 then
  redis.call('HDEL', key('absent_pools'), ARGV[5])
end
if redis.call('ZADD', key('presence'), now + ARGV[2], ARGV[1]) == 1 then
  redis.call('ZPOPMIN', key('turns')) -- a worker is there again: the next one may restart
end

if redis.call('EXISTS', key('pace')) == 0 then -- so that waiting times are known before the first job has ended
  for i = 7, #ARGV, 3 do
    if tonumber(ARGV[i + 2]) > 0.1 and holds(ARGV[i], ARGV[i + 1]) then measure_pace(ARGV[i], ARGV[i + 2], 1, now) end
  end
end
local lost, cancelled = renew(7, ARGV[4], now)
return {lost, cancelled, redis.call('HGETALL', key('orders'))}
