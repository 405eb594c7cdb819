-- Renew a worker's leases and its presence.
-- ARGV: worker, presence in ms, facts about the worker (JSON), lease in ms, then id, token, progress for each job
-- Returns {tokens whose lease is lost, tokens of jobs to cancel, orders (name, times given, ...)}. One worker may
-- hold a job twice: by an old token that it does not know to be lost yet, and by the new one.
local now = now_ms()
redis.call('HSET', key('workers'), ARGV[1], ARGV[3])
if redis.call('ZADD', key('presence'), now + ARGV[2], ARGV[1]) == 1 then
  redis.call('ZPOPMIN', key('turns')) -- a worker is there again: the next one may restart
end

local lost, cancelled = {}, {}
for i = 5, #ARGV, 3 do
  local id, token, progress = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if not holds(id, token) then
    lost[#lost + 1] = token
  else
    redis.call('ZADD', key('leases'), 'XX', now + ARGV[4], id)
    redis.call('HSET', key('job', id), 'progress', progress)
    if tonumber(progress) > 0.1 and redis.call('EXISTS', key('pace')) == 0 then
      measure_pace(id, progress, 1, now) -- so that waiting times are known before the first job has ended
    end
    if redis.call('HEXISTS', key('job', id), 'cancel') == 1 then cancelled[#cancelled + 1] = token end
  end
end
return {lost, cancelled, redis.call('HGETALL', key('orders'))}
