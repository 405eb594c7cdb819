-- Make the delivery of a tenant's job again.
-- ARGV: id, tenant, what names this asking, webhook queue
-- Returns {'owed', bells to ring}, {'open'} before the job has ended, {'none'} if it names no webhook, or {} if this
-- tenant has no such job.
local id, tenant = ARGV[1], ARGV[2]
local owed = delivery_of(id, tenant)
if owed[1] ~= 'owed' then return owed end
local now = now_ms()
replay(id, tenant, owed[2], ARGV[3], now)
return {'owed', webhook_bells(ARGV[4], now)}
