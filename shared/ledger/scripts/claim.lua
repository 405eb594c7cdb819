-- Lease the next job to a worker.
-- ARGV: worker, token, lease in ms, affinity slack, gpu queue, loaded models...
-- Returns {id, tenant, attempts, spec, bell wanted}, or {} if nothing waits.
local worker, token, lease_ms, slack = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local first = redis.call('ZRANGE', key('heads'), 0, 0, 'WITHSCORES')
if not first[1] then return {} end

-- A model that is loaded already goes first while that overtakes nobody by more than the slack.
local model, best = first[1], nil
for i = 6, #ARGV do
  local score = tonumber(redis.call('ZSCORE', key('heads'), ARGV[i]) or 'inf')
  if score - tonumber(first[2]) <= slack and (best == nil or score < best) then
    model, best = ARGV[i], score
  end
end

local id = redis.call('ZRANGE', key('ready', model), 0, 0)[1]
dequeue(id, model)
local attempts = lease(id, worker, token, lease_ms, now_ms())

local job = redis.call('HMGET', key('job', id), 'tenant', 'spec', 'start')
local virtual = tonumber(redis.call('GET', key('virtual')) or '0')
if tonumber(job[3]) > virtual then redis.call('SET', key('virtual'), job[3]) end
return {id, job[1], tostring(attempts), job[2], gpu_bell_wanted(ARGV[5])}
