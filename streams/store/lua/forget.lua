-- Forgets one user: ledger and part of the item statistics go, the cut stays; everything or nothing, as in commit.lua.
-- KEYS: live generation, watermark, sequence, deltas, ledger, cuts of forgotten users, then the statistics buckets
-- ARGV: generation, fence, owner, expected next offset, new next offset, revision of the ledger read, whether it goes,
--       field of the user's cut, cut read, cut to keep, number of item changes, most deltas kept, packed deltas;
--       then an item change: index of its bucket key, count field, count, sum field, sum
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local watermark = redis.call('GET', KEYS[2])
if not watermark then return {'OFFSET', ''} end
local next_offset, fence, owner = string.match(watermark, '^(%d+) (%d+) (%S+)')
if tonumber(fence) > tonumber(ARGV[2]) or (fence == ARGV[2] and owner ~= ARGV[3]) then return {'FENCED', fence} end
if next_offset ~= ARGV[4] or fence ~= ARGV[2] then return {'OFFSET', next_offset} end
if redis.call('GETRANGE', KEYS[5], 0, 15) ~= ARGV[6] then return {'REV', 0} end
if (redis.call('HGET', KEYS[6], ARGV[8]) or '') ~= ARGV[9] then return {'REV', 0} end
if ARGV[7] == '1' then redis.call('DEL', KEYS[5]) end
redis.call('HSET', KEYS[6], ARGV[8], ARGV[10])
local changes, at = tonumber(ARGV[11]), 14
for _ = 1, changes do
  local bucket = KEYS[tonumber(ARGV[at])]
  local count = redis.call('HINCRBY', bucket, ARGV[at + 1], ARGV[at + 2])
  redis.call('HINCRBY', bucket, ARGV[at + 3], ARGV[at + 4])
  if count == 0 then redis.call('HDEL', bucket, ARGV[at + 1], ARGV[at + 3]) end
  at = at + 5
end
if changes > 0 then
  local id = redis.call('INCR', KEYS[3])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[12], string.format('%.0f-0', id), 'd', ARGV[13])
end
local now = redis.call('TIME')
local stamp = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('SET', KEYS[2], table.concat({ARGV[5], fence, owner, stamp}, ' '))
return {'OK'}
