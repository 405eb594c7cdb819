-- Put before every script. Keys and moves that they share; the schema is in ../schema.md.
-- KEYS[1] is the prefix of all keys. Time is the server's, in ms, so no client's clock matters.
local prefix = KEYS[1]

local function key(...) return prefix .. table.concat({...}, ':') end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function exact(number) return string.format('%.17g', number) end

local function refresh_head(model)
  local head = redis.call('ZRANGE', key('ready', model), 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', key('heads'), head[2], model)
  else
    redis.call('ZREM', key('heads'), model)
  end
end

local function enqueue(id)
  local job = redis.call('HMGET', key('job', id), 'model', 'score')
  redis.call('HSET', key('job', id), 'state', 'queued', 'progress', '0')
  redis.call('HDEL', key('job', id), 'token', 'worker')
  redis.call('ZREM', key('leases'), id)
  redis.call('ZADD', key('ready', job[1]), job[2], id)
  refresh_head(job[1])
end

local function dequeue(id, model)
  redis.call('ZREM', key('ready', model), id)
  refresh_head(model)
end

local function queued_count()
  return redis.call('ZCARD', key('open')) - redis.call('ZCARD', key('leases'))
end

-- Work waits and no bell is in the queue: somebody should ring.
local function gpu_bell_wanted(gpu_queue)
  if queued_count() > 0 and redis.call('LLEN', gpu_queue) == 0 then return 1 end
  return 0
end

local function webhook_bell_wanted(webhook_queue, now)
  if redis.call('ZCOUNT', key('outbox'), '-inf', now) > 0 and redis.call('LLEN', webhook_queue) == 0 then
    return 1
  end
  return 0
end

-- The only way into a terminal state. The outbox entry is written here, so that there is exactly one for
-- each job that has a webhook; without one, the record's retention starts now, else when it is delivered.
local function settle(id, state, outcome, now)
  local job = redis.call('HMGET', key('job', id), 'cost', 'webhook', 'retention_ms')
  redis.call('HSET', key('job', id), 'state', state, 'outcome', outcome, 'finished_ms', now)
  redis.call('ZREM', key('leases'), id)
  redis.call('ZREM', key('open'), id)
  redis.call('INCRBY', key('backlog'), -tonumber(job[1]))
  redis.call('HINCRBY', key('totals'), state, 1)
  if job[2] == '1' then
    redis.call('ZADD', key('outbox'), now, id)
    redis.call('HSET', key('delivery', id), 'state', 'due', 'attempts', 0)
  else
    redis.call('PEXPIRE', key('job', id), job[3])
  end
  redis.call('PUBLISH', key('done'), id)
end

local function holds(id, token)
  local job = redis.call('HMGET', key('job', id), 'state', 'token')
  return job[1] == 'running' and job[2] == token
end
