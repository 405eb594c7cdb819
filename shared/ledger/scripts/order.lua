-- Tell all GPU workers to do something, at their next beat.
-- ARGV: the order
redis.call('HINCRBY', key('orders'), ARGV[1], 1)
return {}
