-- The registry, if it has changed.
-- ARGV: the version that the caller has ('' for none), before when dropped entries are forgotten (ms)
-- Returns {version, times that an update was ordered}, and if the version is another one besides: names, entries,
-- seeded (name and value in turn) and dropped (ids).
local version = redis.call('GET', key('registry_version')) or '0'
local updates = redis.call('HGET', key('orders'), 'update') or '0'
if version == ARGV[1] then return {version, updates} end
redis.call('ZREMRANGEBYSCORE', key('dropped'), '-inf', now_ms() - ARGV[2])
return {version, updates, redis.call('HGETALL', key('names')), redis.call('HGETALL', key('entries')),
  redis.call('HGETALL', key('seeded')), redis.call('ZRANGE', key('dropped'), 0, -1)}
