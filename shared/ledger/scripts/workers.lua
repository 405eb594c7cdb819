-- How many GPU workers beat.
return redis.call('ZCOUNT', key('presence'), now_ms(), '+inf')
