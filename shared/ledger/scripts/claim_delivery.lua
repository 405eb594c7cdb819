-- Lease the delivery that is due longest. An expired lease makes it due again: at least once, by design.
-- ARGV: token, lease in ms, webhook queue
-- Returns {job id, attempts made before this one, bell wanted}, or {} if none is due.
local now = now_ms()
local id = redis.call('ZRANGEBYSCORE', key('outbox'), '-inf', now, 'LIMIT', 0, 1)[1]
if not id then return {} end
redis.call('ZADD', key('outbox'), now + ARGV[2], id)
local attempts = redis.call('HINCRBY', key('delivery', id), 'attempts', 1)
redis.call('HSET', key('delivery', id), 'token', ARGV[1], 'state', 'sending')
return {id, tostring(attempts - 1), webhook_bell_wanted(ARGV[3], now)}
