-- Give a job back unfinished; the attempt is not counted. It keeps its place in the order.
-- ARGV: id, token, gpu queues, outcome of a job that was cancelled meanwhile (JSON), '1' if no other server is to get it,
--       version that can't read it ('' if it can be read)
-- Returns {'released' | 'lost', bells to ring}.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return {'lost', {}} end
if redis.call('HEXISTS', key('job', id), 'cancel') == 1 then
  settle(id, 'cancelled', ARGV[4], now_ms())
else
  redis.call('HINCRBY', key('job', id), 'attempts', -1)
  if ARGV[5] == '1' then redis.call('HSET', key('job', id), 'may_leave', '0') end
  if ARGV[6] ~= '' then
    local by = redis.call('HGET', key('job', id), 'unreadable')
    redis.call('HSET', key('job', id), 'unreadable', (by and by .. ' ' or '') .. ARGV[6])
  end
  enqueue(id)
end
return {'released', gpu_bells(ARGV[3])}
