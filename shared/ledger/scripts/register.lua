-- Register an entry under its name; what had the name before is kept for as long as open jobs use it.
-- ARGV: name, entry, content, job id and token of the load that brought it ('' and '' if none did), '1' if the
--       operator's file asked for it
-- Returns 'registered', or 'lost' if the load's lease is. Repeating the call changes nothing.
if ARGV[4] ~= '' and not holds(ARGV[4], ARGV[5]) then return 'lost' end
if ARGV[6] == '1' then redis.call('HSET', key('seeded'), ARGV[1], ARGV[2]) end
register(ARGV[1], ARGV[2], ARGV[3], now_ms())
return 'registered'
