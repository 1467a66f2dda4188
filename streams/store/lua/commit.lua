-- The guarded commit of one batch in one shard: everything or nothing, every check before the first write.
-- KEYS: live generation, watermark, sequence, deltas, cuts of forgotten users, then the ledgers, then the statistics
--       buckets, then, when there are redriven events, the set of those applied
-- ARGV: generation, fence, owner, expected next offset, new next offset, number of ledgers, number of forget events
--       applied when they were read ('-' where it is not asked for), statistics buckets in all, most deltas kept,
--       packed changes of statistics, then a ledger: expected revision, head, tail; then the redriven events.
--       A ledger without a tail is written whole; else head goes over the header and tail is appended.
local users = tonumber(ARGV[6])
if ARGV[7] ~= '-' and ARGV[7] ~= (redis.call('HGET', KEYS[5], '') or '') then return {'REV'} end
local conflicts = {'REV'}
for i = 1, users do
  if redis.call('GETRANGE', KEYS[5 + i], 0, 15) ~= ARGV[8 + 3 * i] then conflicts[#conflicts + 1] = i - 1 end
end
if #conflicts > 1 then return conflicts end
local first_redriven = 11 + 3 * users
for i = first_redriven, #ARGV do
  if redis.call('SISMEMBER', KEYS[#KEYS], ARGV[i]) == 1 then return {'REV'} end
end
local whole = {}
for i = 1, users do
  local key, head, tail = KEYS[5 + i], ARGV[9 + 3 * i], ARGV[10 + 3 * i]
  if tail == '' then
    whole[#whole + 1], whole[#whole + 2] = key, head
  else
    redis.call('SETRANGE', key, 0, head)
    redis.call('APPEND', key, tail)
  end
end
if #whole > 0 then redis.call('MSET', unpack(whole)) end
change_statistics(ARGV[10], 6 + users, tonumber(ARGV[8]), ARGV[9], false)
for i = first_redriven, #ARGV do redis.call('SADD', KEYS[#KEYS], ARGV[i]) end
move_watermark(ARGV[5])
return {'OK'}
