-- The token under which a job is away, for a gateway of this server.
-- ARGV: id
-- Returns {token}, or {} if it is not away.
if redis.call('SISMEMBER', key('away'), ARGV[1]) == 0 then return {} end
return {redis.call('HGET', key('job', ARGV[1]), 'token')}
