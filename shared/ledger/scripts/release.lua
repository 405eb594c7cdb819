-- Give a job back unfinished; the attempt is not counted. It keeps its place in the order.
-- ARGV: id, token, gpu queue
-- Returns {'released' | 'lost', bell wanted}.
local id, token = ARGV[1], ARGV[2]
if not holds(id, token) then return {'lost', 0} end
redis.call('HINCRBY', key('job', id), 'attempts', -1)
enqueue(id)
return {'released', gpu_bell_wanted(ARGV[3])}
