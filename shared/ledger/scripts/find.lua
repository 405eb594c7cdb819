-- The job that an idempotency key made, so that a repeated request costs nothing.
-- ARGV: idempotency key, digest of the body, tenant
-- Returns {id}, {'conflict'} for the same key with another body, or {}.
local known = redis.call('HMGET', key('idem', ARGV[3], ARGV[1]), 'id', 'digest')
if not known[1] then return {} end
if known[2] ~= ARGV[2] then return {'conflict'} end
return {known[1]}
