-- What the cluster is doing, for health and metrics.
-- Returns {queued, running, away, deliveries waiting, deliveries dead, work left, pace ('' if not known yet), names of
-- workers that beat, totals (name, count, ...)}.
return {queued_count(), running_count(), redis.call('SCARD', key('away')), redis.call('ZCARD', key('outbox')),
  redis.call('ZCOUNT', key('dead'), now_ms(), '+inf'), work_left(), redis.call('GET', key('pace')) or '',
  redis.call('ZRANGEBYSCORE', key('presence'), now_ms(), '+inf'), redis.call('HGETALL', key('totals'))}
