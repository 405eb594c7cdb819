-- The peers that admins have added (name, sealed content, ...), or taken away (name, '').
return redis.call('HGETALL', key('peers'))
