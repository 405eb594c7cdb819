#!lua flags=allow-oom
-- Put before every script. Keys and moves that they share; the schema is in ../schema.md.
-- KEYS[1] is the prefix of all keys. Time is the server's, in ms, so no client's clock matters.
-- A server that is full would refuse to end jobs too, and never have room again: only `accept` looks at memory.
local prefix = KEYS[1]

local function key(...) return prefix .. table.concat({...}, ':') end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A server that hangs does what it was sent meanwhile when it comes to itself, long after whoever sent it has given
-- up. KEYS[2], if there is one, is until when the call is of use.
if KEYS[2] and now_ms() > tonumber(KEYS[2]) then return {'late'} end

local function exact(number) return string.format('%.17g', number) end

-- Keeps in `index` the first score of one of the queues that share a name: `heads` of `ready`, `receivers` of `outbox`.
local function refresh(index, queue, name)
  local first = redis.call('ZRANGE', key(queue, name), 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', key(index), first[2], name)
  else
    redis.call('ZREM', key(index), name)
  end
end

-- A job that another server makes is leased to the gateway that gave it there, and its work is not this server's.
local function leave(id, peer)
  redis.call('SADD', key('away'), id)
  redis.call('HSET', key('job', id), 'peer', peer)
  redis.call('INCRBY', key('backlog'), -redis.call('HGET', key('job', id), 'cost'))
end

local function come_back(id)
  if redis.call('SREM', key('away'), id) == 1 then
    redis.call('INCRBY', key('backlog'), redis.call('HGET', key('job', id), 'cost'))
  end
end

-- A suspect may be what ends its workers: it waits in a queue of its own, for a worker that does nothing else. So does
-- a job that workers of some versions can't read, for those of others.
local function enqueue(id)
  local job = redis.call('HMGET', key('job', id), 'model', 'score', 'loads', 'created_ms', 'suspect', 'may_leave', 'cost',
    'unreadable')
  come_back(id)
  redis.call('HSET', key('job', id), 'state', 'queued', 'progress', '0')
  redis.call('HDEL', key('job', id), 'token', 'worker')
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('loading'), id)
  if job[3] == '1' then -- no slot's work, and no bell's: each worker looks for it by itself
    redis.call('ZADD', key('loads'), job[4], id)
    return
  end
  redis.call('ZADD', key('queued'), job[4], id)
  if job[8] or job[5] == '1' then
    redis.call('ZADD', key(job[8] and 'unreadable' or 'suspects'), job[2], id)
    return
  end
  redis.call('ZADD', key('ready', job[1]), job[2], id)
  redis.call('HINCRBY', key('ready_work'), job[1], job[7])
  if job[6] == '1' then redis.call('ZADD', key('leavers'), job[2], id) end
  refresh('heads', 'ready', job[1])
end

local function dequeue(id, model)
  redis.call('ZREM', key('loads'), id)
  redis.call('ZREM', key('queued'), id)
  redis.call('ZREM', key('suspects'), id)
  redis.call('ZREM', key('unreadable'), id)
  if redis.call('ZREM', key('ready', model), id) == 1 then
    local cost = redis.call('HGET', key('job', id), 'cost')
    if redis.call('HINCRBY', key('ready_work'), model, -cost) <= 0 then redis.call('HDEL', key('ready_work'), model) end
  end
  redis.call('ZREM', key('leavers'), id)
  refresh('heads', 'ready', model)
end

-- Jobs that wait for a slot; loads of models wait for none.
local function queued_count() return redis.call('ZCARD', key('queued')) end

-- Jobs, and loads of models, that workers of this server hold.
local function running_count() return redis.call('ZCARD', key('leases')) - redis.call('SCARD', key('away')) end

local function lease(id, worker, token, lease_ms, now)
  redis.call('HSET', key('job', id), 'state', 'running', 'token', token, 'worker', worker, 'started_ms', now)
  redis.call('ZADD', key('leases'), now + lease_ms, id)
  return redis.call('HINCRBY', key('job', id), 'attempts', 1)
end

-- Virtual time goes on to where a job starts that is taken from the queue.
local function advance(start)
  local virtual = tonumber(redis.call('GET', key('virtual')) or '0')
  if tonumber(start) > virtual then redis.call('SET', key('virtual'), start) end
end

-- Workers come in pools, and some pools serve certain models only (ids, separated by blanks; '' for all).
local function is_served(model, serves)
  return serves == '' or string.find(' ' .. serves .. ' ', ' ' .. model .. ' ', 1, true) ~= nil
end

local function can_read(id, version)
  local by = redis.call('HGET', key('job', id), 'unreadable')
  return not by or string.find(' ' .. by .. ' ', ' ' .. version .. ' ', 1, true) == nil
end

-- The job that may have ended its workers and has waited longest, of those that a pool serves.
local function first_suspect(serves)
  for _, id in ipairs(redis.call('ZRANGE', key('suspects'), 0, -1)) do
    if is_served(redis.call('HGET', key('job', id), 'model'), serves) then return id end
  end
end

-- The model whose first job is next in order, of those that a pool serves, and that job's score.
local function first_model(serves)
  if serves == '' then
    local first = redis.call('ZRANGE', key('heads'), 0, 0, 'WITHSCORES')
    return first[1], tonumber(first[2])
  end
  local model, best
  for each in string.gmatch(serves, '%S+') do
    local score = tonumber(redis.call('ZSCORE', key('heads'), each) or '')
    if score and (not best or score < best) then model, best = each, score end
  end
  return model, best
end

-- Queues of the pools that work waits for while no bell is in theirs: somebody should ring.
local function gpu_bells(queues)
  local wanted, pools = {}, redis.call('HGETALL', key('pools'))
  for i = 1, #pools, 2 do
    local queue, serves = queues .. pools[i], pools[i + 1]
    if redis.call('LLEN', queue) == 0 and (first_model(serves) or first_suspect(serves) or redis.call('ZCARD', key('unreadable')) > 0) then
      wanted[#wanted + 1] = queue
    end
  end
  return wanted
end

local function webhook_bells(queue, now)
  if redis.call('ZCOUNT', key('receivers'), '-inf', now) > 0 and redis.call('LLEN', queue) == 0 then
    return {queue}
  end
  return {}
end

-- What is registered (models, and where to store) is an entry: jobs use it by its id for as long as they are open.
-- `names` says which entry a name means now, `named_by` which of two that would take a name is the later one.
local function registry_changed()
  local time = redis.call('TIME') -- so that no version comes twice, even if Redis has lost its last second
  redis.call('SET', key('registry_version'), time[1] .. '.' .. time[2] .. '-' .. redis.call('INCR', key('changes')))
end

local function latest() return tonumber(redis.call('GET', key('next_id')) or '0') + 1 end

local function drop(entry, now)
  redis.call('HDEL', key('entries'), entry)
  redis.call('SREM', key('retired'), entry)
  redis.call('ZADD', key('dropped'), now, entry)
end

local function retire(entry, now)
  if redis.call('HEXISTS', key('uses'), entry) == 1 then
    redis.call('SADD', key('retired'), entry)
  else
    drop(entry, now)
  end
end

local function register(name, entry, content, by, now)
  local before = redis.call('HGET', key('names'), name)
  redis.call('HSET', key('entries'), entry, content)
  redis.call('HSET', key('names'), name, entry)
  redis.call('HSET', key('named_by'), name, by)
  redis.call('SREM', key('retired'), entry)
  redis.call('ZREM', key('dropped'), entry)
  registry_changed()
  if not before or before == entry then return end
  if string.sub(name, 1, 3) == 's3:' then -- links that were given lead there until it is taken back
    redis.call('HSET', key('names'), 'old ' .. name .. ' ' .. before, before)
  else
    retire(before, now)
  end
end

local function unregister(name, now)
  local entry = redis.call('HGET', key('names'), name)
  if not entry then return 0 end
  redis.call('HDEL', key('names'), name)
  redis.call('HSET', key('named_by'), name, latest())
  retire(entry, now)
  registry_changed()
  return 1
end

local function use(entries)
  for entry in string.gmatch(entries, '%S+') do redis.call('HINCRBY', key('uses'), entry, 1) end
end

local function stop_using(entries, now)
  for entry in string.gmatch(entries, '%S+') do
    if redis.call('HINCRBY', key('uses'), entry, -1) <= 0 then
      redis.call('HDEL', key('uses'), entry)
      if redis.call('SISMEMBER', key('retired'), entry) == 1 then
        drop(entry, now)
        registry_changed()
      end
    end
  end
end

-- Deliveries wait by their receivers, so that the backlog of one is passed over at once.
local function post_at(due, id, receiver)
  redis.call('ZADD', key('outbox'), due, id)
  redis.call('ZADD', key('outbox', receiver), due, id)
  refresh('receivers', 'outbox', receiver)
end

local function stop_posting(id, receiver)
  redis.call('ZREM', key('outbox'), id)
  redis.call('ZREM', key('outbox', receiver), id)
  refresh('receivers', 'outbox', receiver)
end

-- A delivery that is owed from now on, by the whole schedule.
local function owe(id, receiver, now)
  redis.call('HSET', key('delivery', id), 'state', 'due', 'attempts', 0, 'receiver', receiver)
  post_at(now, id, receiver)
end

-- Whether a tenant's job owes, or owed, a delivery: {'owed', receiver}, {'open'} if it has not ended, {'none'} if it
-- names no webhook, {} if this tenant has no such job.
local function delivery_of(id, tenant)
  local job = redis.call('HMGET', key('job', id), 'tenant', 'webhook', 'finished_ms')
  if job[1] ~= tenant then return {} end
  if job[2] == '' then return {'none'} end
  if not job[3] then return {'open'} end
  return {'owed', job[2]}
end

-- Owe an ended job's delivery again. What is under way goes on: another attempt follows at once if it fails.
-- `asked` names the asking, so that repeating it changes nothing.
local function replay(id, tenant, receiver, asked, now)
  local before = redis.call('HMGET', key('delivery', id), 'state', 'asked')
  if before[2] == asked then return end
  for _, kept in ipairs({'job', 'delivery', 'attempts'}) do redis.call('PERSIST', key(kept, id)) end
  redis.call('ZREM', key('dead'), id)
  redis.call('ZREM', key('dead', tenant), id)
  redis.call('HSET', key('delivery', id), 'asked', asked)
  if before[1] == 'sending' then
    redis.call('HSET', key('delivery', id), 'again', '1')
  else
    owe(id, receiver, now)
  end
end

local function holds(id, token)
  local job = redis.call('HMGET', key('job', id), 'state', 'token')
  return job[1] == 'running' and job[2] == token
end

-- Renew leases, given from ARGV[first] on as id, token and progress of each. Tells the tokens whose lease is lost, and
-- those of jobs to cancel.
local function renew(first, lease_ms, now)
  local lost, cancelled = {}, {}
  for i = first, #ARGV, 3 do
    local id, token = ARGV[i], ARGV[i + 1]
    if not holds(id, token) then
      lost[#lost + 1] = token
    else
      redis.call('ZADD', key('leases'), 'XX', now + lease_ms, id)
      redis.call('HSET', key('job', id), 'progress', ARGV[i + 2])
      if redis.call('HEXISTS', key('job', id), 'cancel') == 1 then cancelled[#cancelled + 1] = token end
    end
  end
  return lost, cancelled
end

-- The only way into a terminal state. The outbox entry is written here, so that there is exactly one for
-- each job that has a webhook; without one, the record's retention starts now, else when it is delivered.
local function settle(id, state, outcome, now)
  local job = redis.call('HMGET', key('job', id), 'cost', 'webhook', 'retention_ms', 'uses', 'tenant')
  come_back(id)
  redis.call('HSET', key('job', id), 'state', state, 'outcome', outcome, 'finished_ms', now)
  stop_using(job[4] or '', now)
  redis.call('HINCRBY', key('work_of'), job[5], -tonumber(job[1]))
  if redis.call('HINCRBY', key('open_of'), job[5], -1) <= 0 then
    for _, of in ipairs({'open_of', 'work_of', 'weight_of'}) do redis.call('HDEL', key(of), job[5]) end
  end
  redis.call('ZREM', key('leases'), id)
  redis.call('SREM', key('loading'), id)
  redis.call('ZREM', key('open'), id)
  redis.call('ZREM', key('deadlines'), id)
  redis.call('INCRBY', key('backlog'), -tonumber(job[1]))
  redis.call('HINCRBY', key('totals'), state, 1)
  if job[2] ~= '' then
    owe(id, job[2], now)
  else
    redis.call('PEXPIRE', key('job', id), job[3])
  end
  redis.call('PUBLISH', key('done'), id)
end

local MOST_PACES = 4

-- Pace: wall-clock ms per work unit of the whole cluster, smoothed over about ten jobs. `job_pace`: of one job, if it
-- had a worker to itself; one whose model had to be loaded first does not tell.
local function measure_pace(id, progress, weight, now)
  if redis.call('SISMEMBER', key('away'), id) == 1 then return end
  local job = redis.call('HMGET', key('job', id), 'started_ms', 'cost', 'cold')
  local done = job[2] * progress
  if done <= 0 or now <= tonumber(job[1]) then return end -- a load of a model, or nothing to measure by
  local making = math.max(1, running_count() - redis.call('SCARD', key('loading')))
  local took, workers = (now - job[1]) / done, math.max(1, redis.call('ZCARD', key('presence')))
  local samples = {pace = took / making}
  if job[3] ~= '1' then samples.job_pace = took / math.max(1, making / workers) end
  for name, sample in pairs(samples) do
    local pace = tonumber(redis.call('GET', key(name)) or sample)
    sample = math.min(sample, MOST_PACES * pace) -- a job that was held up, by a full disk say, tells little of others
    redis.call('SET', key(name), exact(pace + weight * (sample - pace)))
  end
end
