-- What the cluster is doing, in the detail that metrics show.
-- ARGV: most open jobs to look at for the oldest that waits
-- Returns {
--   {{model, queued, running, away, work that waits, work left of what runs} of each model that has open jobs},
--   {{worker, jobs that it runs, facts (JSON)} of each that beats},
--   {{open jobs, their work, weight} of each tenant that has any},
--   ms since the oldest queued job was accepted, work of all open jobs, pace and pace of one job ('' if not known yet),
--   deliveries waiting, deliveries dead, totals (name, count, ...)}.
local now = now_ms()
local models, runs = {}, {}

local function of(model)
  models[model] = models[model] or {0, 0, 0, 0, 0}
  return models[model]
end

local function add(model, column, amount) of(model)[column] = of(model)[column] + amount end

for _, model in ipairs(redis.call('ZRANGE', key('heads'), 0, -1)) do
  add(model, 1, redis.call('ZCARD', key('ready', model)))
  add(model, 4, redis.call('HGET', key('ready_work'), model))
end
for _, id in ipairs(redis.call('ZRANGE', key('suspects'), 0, -1)) do
  local job = redis.call('HMGET', key('job', id), 'model', 'cost')
  add(job[1], 1, 1)
  add(job[1], 4, job[2])
end
for _, id in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
  local job = redis.call('HMGET', key('job', id), 'model', 'worker', 'cost', 'progress', 'loads')
  if redis.call('SISMEMBER', key('away'), id) == 1 then
    add(job[1], 3, 1)
  elseif job[5] ~= '1' then
    add(job[1], 2, 1)
    add(job[1], 5, job[3] * (1 - job[4]))
    runs[job[2]] = (runs[job[2]] or 0) + 1
  end
end

local by_model, by_worker, by_tenant = {}, {}, {}
for model, row in pairs(models) do
  by_model[#by_model + 1] = {model, row[1], row[2], row[3], exact(row[4]), exact(row[5])}
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', key('presence'), now, '+inf')) do
  by_worker[#by_worker + 1] = {worker, runs[worker] or 0, redis.call('HGET', key('workers'), worker)}
end
local open_of = redis.call('HGETALL', key('open_of'))
for i = 1, #open_of, 2 do
  local tenant = open_of[i]
  by_tenant[#by_tenant + 1] = {
    open_of[i + 1], redis.call('HGET', key('work_of'), tenant), redis.call('HGET', key('weight_of'), tenant),
  }
end

local function oldest_queued_ms()
  local open = redis.call('ZRANGE', key('open'), 0, ARGV[1] - 1, 'WITHSCORES')
  for i = 1, #open, 2 do
    local job = redis.call('HMGET', key('job', open[i]), 'state', 'loads')
    if job[1] == 'queued' and job[2] ~= '1' then return now - open[i + 1] end
  end
  return 0
end

return {by_model, by_worker, by_tenant, oldest_queued_ms(), redis.call('GET', key('backlog')) or '0',
  redis.call('GET', key('pace')) or '', redis.call('GET', key('job_pace')) or '', redis.call('ZCARD', key('outbox')),
  redis.call('ZCOUNT', key('dead'), now, '+inf'), redis.call('HGETALL', key('totals'))}
