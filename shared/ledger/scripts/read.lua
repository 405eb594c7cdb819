-- A tenant's job and what its waiting time depends on.
-- ARGV: id, tenant ('' for the dispatcher and the worker: any)
-- Returns {id, tenant, state, spec, attempts, progress, outcome, ms since it started, backlog, pace}, or {}.
local job = redis.call('HMGET', key('job', ARGV[1]), 'tenant', 'state', 'spec', 'attempts', 'progress',
  'outcome', 'started_ms')
if not job[1] or (ARGV[2] ~= '' and job[1] ~= ARGV[2]) then return {} end
local running_ms = job[7] and now_ms() - job[7] or 0
return {ARGV[1], job[1], job[2], job[3], job[4], job[5], job[6] or '', tostring(running_ms),
  redis.call('GET', key('backlog')) or '0', redis.call('GET', key('pace')) or '0'}
