-- Forgets one user: ledger and part of the item statistics go, the cut stays; everything or nothing, as in commit.lua.
-- KEYS: live generation, watermark, sequence, deltas, cuts of forgotten users, ledger, then the statistics buckets
-- ARGV: generation, fence, owner, expected next offset, new next offset, revision of the ledger read, whether it goes,
--       statistics buckets in all, most deltas kept, packed changes of statistics, field of the user's cut, cut read,
--       cut to keep
if redis.call('GETRANGE', KEYS[6], 0, 15) ~= ARGV[6] then return {'REV', 0} end
if (redis.call('HGET', KEYS[5], ARGV[11]) or '') ~= ARGV[12] then return {'REV', 0} end
if ARGV[7] == '1' then redis.call('DEL', KEYS[6]) end
redis.call('HSET', KEYS[5], ARGV[11], ARGV[13])
redis.call('HINCRBY', KEYS[5], '', 1)
change_statistics(ARGV[10], 7, tonumber(ARGV[8]), ARGV[9], true)
move_watermark(ARGV[5])
return {'OK'}
