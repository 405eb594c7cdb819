-- Lease the load of a model that has waited longest to a worker. A model that a pool serves by name is for that pool's
-- workers: on other GPUs it might not fit.
-- ARGV: worker, token, lease in ms, what its pool serves, its version
-- Returns {id, tenant, attempts, spec}, or {} if none waits.
local function is_for_others(model)
  if ARGV[4] ~= '' and is_served(model, ARGV[4]) then return false end
  for _, pools in ipairs({'pools', 'absent_pools'}) do
    for _, serves in ipairs(redis.call('HVALS', key(pools))) do
      if serves ~= '' and is_served(model, serves) then return true end
    end
  end
  return false
end

local id
for _, each in ipairs(redis.call('ZRANGE', key('loads'), 0, -1)) do
  if can_read(each, ARGV[5]) and not is_for_others(redis.call('HGET', key('job', each), 'model')) then
    id = each
    break
  end
end
if not id then return {} end
redis.call('ZREM', key('loads'), id)
redis.call('SADD', key('loading'), id)
local attempts = lease(id, ARGV[1], ARGV[2], ARGV[3], now_ms())
local job = redis.call('HMGET', key('job', id), 'tenant', 'spec')
return {id, job[1], tostring(attempts), job[2]}
