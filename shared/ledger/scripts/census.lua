-- What the cluster is doing, in the detail that metrics show. Its time grows with models, workers, tenants and the jobs
-- that are away, not with those that wait or run here.
-- Returns {
--   {{model, queued, work that waits} of each model that jobs wait for},
--   {model of each job that is away},
--   {facts (JSON) of each worker that beats},
--   {{open jobs, their work, weight} of each tenant that has any},
--   ms since the oldest queued job was accepted, work of all open jobs, pace and pace of one job ('' if not known yet),
--   deliveries waiting, deliveries dead, totals (name, count, ...), loads of models that wait}.
local now = now_ms()
local waiting, away, facts, tenants = {}, {}, {}, {}

for _, model in ipairs(redis.call('ZRANGE', key('heads'), 0, -1)) do
  waiting[model] = {redis.call('ZCARD', key('ready', model)), redis.call('HGET', key('ready_work'), model) or '0'}
end
for _, aside in ipairs({'suspects', 'unreadable'}) do
  for _, id in ipairs(redis.call('ZRANGE', key(aside), 0, -1)) do
    local job = redis.call('HMGET', key('job', id), 'model', 'cost')
    local before = waiting[job[1]] or {0, 0}
    waiting[job[1]] = {before[1] + 1, before[2] + job[2]}
  end
end
local by_model = {}
for model, row in pairs(waiting) do by_model[#by_model + 1] = {model, row[1], tostring(row[2])} end

for _, id in ipairs(redis.call('SMEMBERS', key('away'))) do
  away[#away + 1] = redis.call('HGET', key('job', id), 'model')
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('presence'), now, '+inf')) do
  facts[#facts + 1] = redis.call('HGET', key('workers'), worker)
end
for _, tenant in ipairs(redis.call('HKEYS', key('open_of'))) do
  local of = {}
  for i, what in ipairs({'open_of', 'work_of', 'weight_of'}) do of[i] = redis.call('HGET', key(what), tenant) end
  tenants[#tenants + 1] = of
end
local oldest = redis.call('ZRANGE', key('queued'), 0, 0, 'WITHSCORES')

return {by_model, away, facts, tenants, oldest[1] and now - oldest[2] or 0, redis.call('GET', key('backlog')) or '0',
  redis.call('GET', key('pace')) or '', redis.call('GET', key('job_pace')) or '', redis.call('ZCARD', key('outbox')),
  redis.call('ZCOUNT', key('dead'), now, '+inf'), redis.call('HGETALL', key('totals')),
  redis.call('ZCARD', key('loads'))}
