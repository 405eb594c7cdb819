-- Lease the load of a model that has waited longest to a worker.
-- ARGV: worker, token, lease in ms
-- Returns {id, tenant, attempts, spec}, or {} if none waits.
local id = redis.call('ZRANGE', key('loads'), 0, 0)[1]
if not id then return {} end
redis.call('ZREM', key('loads'), id)
redis.call('SADD', key('loading'), id)
local attempts = lease(id, ARGV[1], ARGV[2], ARGV[3], now_ms())
local job = redis.call('HMGET', key('job', id), 'tenant', 'spec')
return {id, job[1], tostring(attempts), job[2]}
