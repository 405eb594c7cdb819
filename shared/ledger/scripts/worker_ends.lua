-- A worker ends: it is not waited for until its presence expires, and in a container the next has its name.
-- ARGV: worker
redis.call('ZREM', key('presence'), ARGV[1])
redis.call('HDEL', key('workers'), ARGV[1])
