-- Cancel jobs that wait, of all tenants.
-- ARGV: outcome (JSON), webhook queue, most jobs to cancel in one call
-- Returns {cancelled, still queued, bells to ring}.
local now, most = now_ms(), tonumber(ARGV[3])
local cancelled = 0
for _, aside in ipairs({'suspects', 'unreadable'}) do
  for _, id in ipairs(redis.call('ZRANGE', key(aside), 0, most - cancelled - 1)) do
    dequeue(id, redis.call('HGET', key('job', id), 'model'))
    settle(id, 'cancelled', ARGV[1], now)
    cancelled = cancelled + 1
  end
  if cancelled >= most then break end
end
for _, model in ipairs(redis.call('ZRANGE', key('heads'), 0, -1)) do
  if cancelled >= most then break end
  for _, id in ipairs(redis.call('ZRANGE', key('ready', model), 0, most - cancelled - 1)) do
    dequeue(id, model)
    settle(id, 'cancelled', ARGV[1], now)
    cancelled = cancelled + 1
  end
end
return {cancelled, queued_count(), webhook_bells(ARGV[2], now)}
