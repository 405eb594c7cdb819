-- Cancel a tenant's job: at once if it waits; a running one at its next beat.
-- ARGV: id, tenant, outcome (JSON), webhook queue
-- Returns {the state it was in, bells to ring}, or {} if this tenant has no such job.
local id = ARGV[1]
local job = redis.call('HMGET', key('job', id), 'tenant', 'state', 'model')
if job[1] ~= ARGV[2] then return {} end
if job[2] == 'running' then
  redis.call('HSET', key('job', id), 'cancel', '1')
elseif job[2] == 'queued' then
  local now = now_ms()
  dequeue(id, job[3])
  settle(id, 'cancelled', ARGV[3], now)
  return {job[2], webhook_bells(ARGV[4], now)}
end
return {job[2], {}}
