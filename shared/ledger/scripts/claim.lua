-- Lease the next job to a worker.
-- ARGV: worker, token, lease in ms, affinity slack, gpu queues, '1' if the worker holds no job, its pool, what that
--       serves, its version, loaded models...
-- Returns {id, tenant, attempts, spec, bells to ring, '1' if nothing may run beside it, ms since it was accepted}, {} if
-- nothing waits, or {'way'} if the worker is to take nothing until it is idle.
local worker, token, lease_ms, slack, is_idle = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[6] == '1'
local pool, serves, version = ARGV[7], ARGV[8], ARGV[9]

-- A suspect needs a worker to itself: one that is idle, or the one that takes nothing more until it is.
local function suspect()
  local id = first_suspect(serves)
  if not id then return nil, false end
  if is_idle then return id, false end
  local waiting = redis.call('GET', key('making_way', pool))
  if waiting and waiting ~= worker then return nil, false end
  redis.call('SET', key('making_way', pool), worker, 'PX', math.max(1, lease_ms))
  return nil, true
end

local function left_by_others()
  for _, id in ipairs(redis.call('ZRANGE', key('unreadable'), 0, -1)) do
    if can_read(id, version) and is_served(redis.call('HGET', key('job', id), 'model'), serves) then return id end
  end
end

-- A model that is loaded already goes first while that overtakes nobody by more than the slack.
local function next_in_order()
  local model, first = first_model(serves)
  if not model then return nil end
  local best
  for i = 10, #ARGV do
    local score = tonumber(redis.call('ZSCORE', key('heads'), ARGV[i]) or 'inf')
    if is_served(ARGV[i], serves) and score - first <= slack and (not best or score < best) then
      model, best = ARGV[i], score
    end
  end
  return redis.call('ZRANGE', key('ready', model), 0, 0)[1]
end

local id, makes_way = suspect()
local alone = id and '1' or '0'
if makes_way then return {'way'} end
id = id or left_by_others() or next_in_order()
if not id then return {} end
local model, cold = redis.call('HGET', key('job', id), 'model'), '1'
for i = 10, #ARGV do
  if ARGV[i] == model then cold = '0' end
end
redis.call('HSET', key('job', id), 'cold', cold)
dequeue(id, model)
local attempts = lease(id, worker, token, lease_ms, now_ms())

local job = redis.call('HMGET', key('job', id), 'tenant', 'spec', 'start', 'created_ms')
advance(job[3])
return {id, job[1], tostring(attempts), job[2], gpu_bells(ARGV[5]), alone, tostring(now_ms() - job[4])}
