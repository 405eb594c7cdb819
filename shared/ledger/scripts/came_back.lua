-- Tell all gateways that another server has ended a job.
-- ARGV: id
redis.call('PUBLISH', key('back'), ARGV[1])
return {}
