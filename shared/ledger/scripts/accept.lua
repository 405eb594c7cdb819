-- Accept a job, once per idempotency key.
-- ARGV: idempotency key, its life in ms, digest of the body, tenant, model, cost, weight, head start,
--       receiver of its webhook ('' for none), retention in ms, spec, gpu queues, '1' if it loads a model, most
--       open jobs of the tenant ('' for no limit), ids of the entries that it uses (separated by blanks), longest
--       predicted wait in ms, ms per work unit until a pace was measured, deadline in ms from now, '1' if another
--       server may make it
-- Returns {id, '1' if this call created it, bells to ring}, {'conflict'} for the same key with another body,
-- {'full'} if the tenant has as many open jobs as it may have, {'queue', predicted wait in ms} if that is too long,
-- {'memory'} if the server has too little left, or {'gone'} if an entry is no longer registered.
local idempotency, life_ms, digest, tenant, model = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local cost, weight, head_start = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

-- So much of the memory is kept for what follows an accept: jobs end, and webhooks leave, whatever else is refused.
local USABLE_MEMORY = 0.9

local function memory_is_short()
  local memory = redis.call('INFO', 'memory')
  local most = tonumber(string.match(memory, '\nmaxmemory:(%d+)'))
  return most > 0 and tonumber(string.match(memory, '\nused_memory:(%d+)')) > USABLE_MEMORY * most
end

-- How long this tenant's next job would wait: until all open work is done, or its own, if the others leave it its
-- share. So a flood is refused, and nobody else because of it.
local function predicted_wait_ms(tenant, weight, unknown_pace_ms)
  local backlog = tonumber(redis.call('GET', key('backlog')) or '0')
  local own = tonumber(redis.call('HGET', key('work_of'), tenant) or '0')
  local weights = 0
  if redis.call('HEXISTS', key('weight_of'), tenant) == 0 then weights = weight end
  for _, each in ipairs(redis.call('HVALS', key('weight_of'))) do weights = weights + each end
  local pace = tonumber(redis.call('GET', key('pace'))) or unknown_pace_ms
  return math.min(backlog, own / weight * weights) * pace
end

local known = redis.call('HMGET', key('idem', tenant, idempotency), 'id', 'digest')
if known[1] then
  if known[2] ~= digest then return {'conflict'} end
  return {known[1], '0', {}}
end

local most, uses, loads = tonumber(ARGV[14]), ARGV[15], ARGV[13] == '1'
if most and tonumber(redis.call('HGET', key('open_of'), tenant) or '0') >= most then return {'full'} end
if not loads then
  if memory_is_short() then return {'memory'} end
  local wait_ms = predicted_wait_ms(tenant, weight, tonumber(ARGV[17]))
  if wait_ms > tonumber(ARGV[16]) then return {'queue', tostring(math.ceil(wait_ms))} end
end
for entry in string.gmatch(uses, '%S+') do
  if redis.call('HEXISTS', key('entries'), entry) == 0 then return {'gone'} end
end
use(uses)
redis.call('HINCRBY', key('open_of'), tenant, 1)
redis.call('HINCRBY', key('work_of'), tenant, cost)
redis.call('HSET', key('weight_of'), tenant, exact(weight))

local id = redis.call('INCR', key('next_id'))
redis.call('HSET', key('idem', tenant, idempotency), 'id', id, 'digest', digest)
redis.call('PEXPIRE', key('idem', tenant, idempotency), life_ms)

-- Start-time fair queueing: a tenant's next job starts where its last one ends, never before now.
local virtual = tonumber(redis.call('GET', key('virtual')) or '0')
local last = tonumber(redis.call('HGET', key('tags'), tenant) or '0')
local start = math.max(virtual, last)
redis.call('HSET', key('tags'), tenant, exact(start + cost / weight))

local now = now_ms()
redis.call('HSET', key('job', id), 'tenant', tenant, 'model', model, 'cost', cost, 'start', exact(start),
  'score', exact(start - head_start), 'webhook', ARGV[9], 'retention_ms', ARGV[10], 'spec', ARGV[11],
  'loads', ARGV[13], 'uses', uses, 'attempts', 0, 'created_ms', now,
  'may_leave', ARGV[19])
redis.call('ZADD', key('open'), now, id)
if not loads then redis.call('ZADD', key('deadlines'), now + ARGV[18], id) end
redis.call('INCRBY', key('backlog'), cost)
redis.call('HINCRBY', key('totals'), 'accepted', 1)
enqueue(id)
return {tostring(id), '1', gpu_bells(ARGV[12])}
