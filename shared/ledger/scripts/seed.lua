-- Bring the registry up to date with the operator's file: what is new or changed in it is registered, what has left
-- it is not any more. What was changed by other means since the file was last read stays as it is.
-- ARGV: name, entry, content, '1' if only the content is another than before, for each model of the file; no
--       content: a load registers it
-- Returns {}.
local now, named = now_ms(), {}
for i = 1, #ARGV, 4 do
  local name, entry, content = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  named[name] = true
  if content ~= '' and redis.call('HGET', key('seeded'), name) ~= entry then
    register(name, entry, content, latest(), now)
    redis.call('HSET', key('seeded'), name, entry)
  elseif ARGV[i + 3] == '1' and redis.call('HEXISTS', key('entries'), entry) == 1 then
    redis.call('HSET', key('entries'), entry, content)
    registry_changed()
  end
end
local seeded = redis.call('HGETALL', key('seeded'))
for i = 1, #seeded, 2 do
  if not named[seeded[i]] then
    if redis.call('HGET', key('names'), seeded[i]) == seeded[i + 1] then unregister(seeded[i], now) end
    redis.call('HDEL', key('seeded'), seeded[i])
  end
end
if redis.call('EXISTS', key('registry_version')) == 0 then registry_changed() end
return {}
