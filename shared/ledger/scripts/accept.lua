-- Accept a job, once per idempotency key.
-- ARGV: idempotency key, its life in ms, digest of the body, tenant, model, cost, weight, head start,
--       receiver of its webhook ('' for none), retention in ms, spec, gpu queue, '1' if it loads a model, most
--       open jobs of the tenant ('' for no limit), ids of the entries that it uses (separated by blanks)
-- Returns {id, '1' if this call created it, bell wanted}, {'conflict'} for the same key with another body,
-- {'full'} if the tenant has as many open jobs as it may have, or {'gone'} if an entry is no longer registered.
local idempotency, life_ms, digest, tenant, model = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local cost, weight, head_start = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local known = redis.call('HMGET', key('idem', tenant, idempotency), 'id', 'digest')
if known[1] then
  if known[2] ~= digest then return {'conflict'} end
  return {known[1], '0', 0}
end

local most, uses = tonumber(ARGV[14]), ARGV[15]
if most and tonumber(redis.call('HGET', key('open_of'), tenant) or '0') >= most then return {'full'} end
for entry in string.gmatch(uses, '%S+') do
  if redis.call('HEXISTS', key('entries'), entry) == 0 then return {'gone'} end
end
use(uses)
redis.call('HINCRBY', key('open_of'), tenant, 1)

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
  'loads', ARGV[13], 'uses', uses, 'attempts', 0, 'created_ms', now)
redis.call('ZADD', key('open'), now, id)
redis.call('INCRBY', key('backlog'), cost)
redis.call('HINCRBY', key('totals'), 'accepted', 1)
enqueue(id)
return {tostring(id), '1', gpu_bell_wanted(ARGV[12])}
