#!lua flags=no-writes
-- Reads some buckets of the item statistics together with the number of the newest delta they include.
-- KEYS: live generation, sequence, then the buckets
-- ARGV: generation, '' where it is not asked for: shard 0's says which one is live; a state not made yet is at 1
if ARGV[1] ~= '' and (redis.call('GET', KEYS[1]) or '1') ~= ARGV[1] then return {'GEN'} end
local found = {'OK', redis.call('GET', KEYS[2]) or '0'}
for i = 3, #KEYS do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
