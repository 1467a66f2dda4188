-- Keeps the dead-letter breaker of a partition, for the worker that holds the partition only.
-- KEYS: live generation, watermark, breaker
-- ARGV: generation, fence, owner, value
redis.call('SET', KEYS[3], ARGV[4])
return {'OK'}
