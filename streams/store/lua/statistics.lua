#!lua flags=no-writes
-- Reads some buckets of the item statistics together with the number of the newest delta they include.
-- KEYS: live generation, sequence, then the buckets
-- ARGV: generation; a state not made yet is at generation 1
if (redis.call('GET', KEYS[1]) or '1') ~= ARGV[1] then return {'GEN'} end
local found = {'OK', redis.call('GET', KEYS[2]) or '0'}
for i = 3, #KEYS do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
