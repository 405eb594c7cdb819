-- Register an entry under its name; what had the name before is kept for as long as open jobs use it.
-- ARGV: name, entry, content, job id and token of the load that brought it ('' and '' if none did), '1' if the
--       operator's file asked for it
-- Returns 'registered', 'lost' if the load's lease is, or 'superseded' if the name was taken, or taken back, by who
-- came after that load. Repeating the call changes nothing.
local name, entry, load = ARGV[1], ARGV[2], ARGV[4]
if load == '' then
  register(name, entry, ARGV[3], latest(), now_ms())
  return 'registered'
end
if not holds(load, ARGV[5]) then return 'lost' end
if tonumber(load) < tonumber(redis.call('HGET', key('named_by'), name) or '0') then return 'superseded' end
if ARGV[6] == '1' then redis.call('HSET', key('seeded'), name, entry) end
register(name, entry, ARGV[3], load, now_ms())
return 'registered'
