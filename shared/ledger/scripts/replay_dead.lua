-- Make a tenant's dead deliveries again, the oldest first.
-- ARGV: tenant, what names this asking, webhook queue, most of them in one call
-- Returns {how many, bells to ring}: none if all that are left have died since they were asked for by this name.
local tenant, asked, now = ARGV[1], ARGV[2], now_ms()
local count = 0
redis.call('ZREMRANGEBYSCORE', key('dead', tenant), '-inf', now)
for _, id in ipairs(redis.call('ZRANGE', key('dead', tenant), 0, ARGV[4] - 1)) do
  local owed = delivery_of(id, tenant)
  if owed[1] ~= 'owed' then -- the record was removed by hand
    redis.call('ZREM', key('dead', tenant), id)
  elseif redis.call('HGET', key('delivery', id), 'asked') ~= asked then
    replay(id, tenant, owed[2], asked, now)
    count = count + 1
  end
end
return {count, webhook_bells(ARGV[3], now)}
