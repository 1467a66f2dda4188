#!lua flags=no-writes
-- One bounded step of SCAN on the node that has the shard.
-- KEYS: live generation
-- ARGV: generation, cursor, pattern, count
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
return {'OK', redis.call('SCAN', ARGV[2], 'MATCH', ARGV[3], 'COUNT', ARGV[4])}
