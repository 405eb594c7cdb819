-- What became of the delivery of a tenant's job so far.
-- ARGV: id, tenant
-- Returns {state, due at, attempts...}, {'open'} before the job has ended, {'none'} if it names no webhook, or {} if
-- this tenant has no such job. An attempt is when it began, how long it took and what was said; one without an answer
-- is under way if it is the last one and the state is 'sending', else it was cut off.
local id = ARGV[1]
local owed = delivery_of(id, ARGV[2])
if owed[1] ~= 'owed' then return owed end
local state = redis.call('HGET', key('delivery', id), 'state')
local due = redis.call('ZSCORE', key('outbox'), id)
if state == 'sending' and tonumber(due) <= now_ms() then state = 'due' end -- its lease has expired
return {state, due or '', unpack(redis.call('LRANGE', key('attempts', id), 0, -1))}
