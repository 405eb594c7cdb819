-- Ask for a turn to restart, so that only some of the workers are away at a time.
-- ARGV: worker, for how long it may take at most (ms), share of the workers that may be away
-- Returns '1' if it may restart now, else '0'.
local now = now_ms()
redis.call('ZREMRANGEBYSCORE', key('turns'), '-inf', now)
if redis.call('ZSCORE', key('turns'), ARGV[1]) then return '1' end -- the reply to it was lost
local workers = redis.call('ZCOUNT', key('presence'), now, '+inf')
if redis.call('ZCARD', key('turns')) >= math.max(1, math.floor(workers * ARGV[3])) then return '0' end
redis.call('ZADD', key('turns'), now + ARGV[2], ARGV[1])
return '1'
