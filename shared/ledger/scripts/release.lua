-- Give a job back unfinished; the attempt is not counted. It keeps its place in the order.
-- ARGV: id, token, gpu queue, outcome of a job that was cancelled meanwhile (JSON)
-- Returns {'released' | 'lost', bell wanted}.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return {'lost', 0} end
if redis.call('HEXISTS', key('job', id), 'cancel') == 1 then
  settle(id, 'cancelled', ARGV[4], now_ms())
else
  redis.call('HINCRBY', key('job', id), 'attempts', -1)
  enqueue(id)
end
return {'released', gpu_bell_wanted(ARGV[3])}
