-- Add a peer, or take one away.
-- ARGV: name, sealed content ('' takes it away)
redis.call('HSET', key('peers'), ARGV[1], ARGV[2])
return {}
