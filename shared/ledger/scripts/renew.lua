-- Renew the leases of jobs that are at other servers.
-- ARGV: lease in ms, then id, token, progress for each job
-- Returns {tokens whose lease is lost, tokens of jobs to cancel}.
local lost, cancelled = renew(2, ARGV[1], now_ms())
return {lost, cancelled}
