-- Lease a job that waits to a gateway, which gives it to another server.
-- ARGV: id, gateway, token, lease in ms, peer
-- Returns {id, tenant, attempts, spec}, or {} if it waits no longer.
local id = ARGV[1]
if not redis.call('ZSCORE', key('leavers'), id) then return {} end
dequeue(id, redis.call('HGET', key('job', id), 'model'))
leave(id, ARGV[5])
local attempts = lease(id, ARGV[2], ARGV[3], ARGV[4], now_ms())
local job = redis.call('HMGET', key('job', id), 'tenant', 'spec', 'start')
advance(job[3])
return {id, job[1], tostring(attempts), job[2]}
