-- How far a tenant's jobs are.
-- ARGV: tenant, then their ids
-- Returns {state, progress} of each; {'', ''} if this tenant has no such job.
local states = {}
for i = 2, #ARGV do
  local job = redis.call('HMGET', key('job', ARGV[i]), 'tenant', 'state', 'progress')
  states[#states + 1] = job[1] == ARGV[1] and {job[2], job[3]} or {'', ''}
end
return states
