-- What this server has to do and how fast it is, and the first jobs that another server may make.
-- ARGV: most jobs
-- Returns {work of open jobs, pace ('' if not known yet), pace of one job, open jobs, how many of them may leave,
-- {facts (JSON) of each worker that beats}, {{id, cost, model, peer that had it last ('' for none), spec} of each job}}.
local now, facts, jobs = now_ms(), {}, {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('presence'), now, '+inf')) do
  facts[#facts + 1] = redis.call('HGET', key('workers'), worker)
end
for _, id in ipairs(redis.call('ZRANGE', key('leavers'), '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local job = redis.call('HMGET', key('job', id), 'cost', 'model', 'peer', 'spec')
  jobs[#jobs + 1] = {id, job[1], job[2], job[3] or '', job[4]}
end
local open_jobs = queued_count() + running_count() - redis.call('SCARD', key('loading'))
return {redis.call('GET', key('backlog')) or '0', redis.call('GET', key('pace')) or '', redis.call('GET', key('job_pace')) or '', open_jobs,
  redis.call('ZCARD', key('leavers')), facts, jobs}
