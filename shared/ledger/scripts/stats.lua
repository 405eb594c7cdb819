-- What the cluster is doing, for health and metrics.
-- Returns {queued, running, away, deliveries waiting, deliveries dead, names of workers that beat, totals (name,
-- count, ...)}.
return {queued_count(), running_count(), redis.call('SCARD', key('away')), redis.call('ZCARD', key('outbox')),
  redis.call('ZCOUNT', key('dead'), now_ms(), '+inf'),
  redis.call('ZRANGEBYSCORE', key('presence'), now_ms(), '+inf'), redis.call('HGETALL', key('totals'))}
