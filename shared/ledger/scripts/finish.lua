-- Write a job's outcome, if the caller still holds its lease. Repeating the call changes nothing.
-- ARGV: id, token, terminal state, outcome (JSON), webhook queue
-- Returns {'finished' | 'lost', bells to ring}.
local id, token, state = ARGV[1], ARGV[2], ARGV[3]
local now = now_ms()
if holds(id, token) then
  measure_pace(id, 1, 0.1, now)
  settle(id, state, ARGV[4], now)
elseif redis.call('HGET', key('job', id), 'token') ~= token then
  return {'lost', {}}
end
return {'finished', webhook_bells(ARGV[5], now)}
