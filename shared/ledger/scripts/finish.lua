-- Write a job's outcome, if the caller still holds its lease. Repeating the call changes nothing.
-- ARGV: id, token, terminal state, outcome (JSON), webhook queue
-- Returns {'finished' | 'lost', bell wanted}.
local id, token, state = ARGV[1], ARGV[2], ARGV[3]
local now = now_ms()
if holds(id, token) then
  local job = redis.call('HMGET', key('job', id), 'started_ms', 'cost')
  -- Pace: wall-clock ms per work unit of the whole cluster, smoothed over about ten jobs.
  local sample = (now - job[1]) / job[2] / redis.call('ZCARD', key('leases'))
  local pace = tonumber(redis.call('GET', key('pace')) or sample)
  redis.call('SET', key('pace'), exact(pace + 0.1 * (sample - pace)))
  settle(id, state, ARGV[4], now)
elseif redis.call('HGET', key('job', id), 'token') ~= token then
  return {'lost', 0}
end
return {'finished', webhook_bell_wanted(ARGV[5], now)}
