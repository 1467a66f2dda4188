#!lua flags=no-writes
-- Reads a shard at one instant: its live generation, newest delta, watermarks and ledgers, and the store's clock.
-- KEYS: live generation, sequence, then watermarks and ledgers
return {redis.call('MGET', unpack(KEYS)), redis.call('TIME')}
