-- The guarded commit of one batch in one shard: everything or nothing, every check before the first write.
-- KEYS: live generation, watermark, sequence, deltas, then the ledgers, then the statistics buckets, then, when there
--       are redriven events, the set of those applied
-- ARGV: generation, fence, owner, expected next offset, new next offset, number of ledgers, number of item changes,
--       most deltas kept, packed deltas, then a ledger: op, expected revision, head, tail;
--       then an item change: index of its bucket key, count field, count, sum field, sum; then the redriven events
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local watermark = redis.call('GET', KEYS[2])
if not watermark then return {'OFFSET', ''} end
local next_offset, fence, owner = string.match(watermark, '^(%d+) (%d+) (%S+)')
if tonumber(fence) > tonumber(ARGV[2]) or (fence == ARGV[2] and owner ~= ARGV[3]) then return {'FENCED', fence} end
if next_offset ~= ARGV[4] or fence ~= ARGV[2] then return {'OFFSET', next_offset} end
local users, changes = tonumber(ARGV[6]), tonumber(ARGV[7])
local conflicts = {'REV'}
for i = 1, users do
  if redis.call('GETRANGE', KEYS[4 + i], 0, 15) ~= ARGV[7 + 4 * i] then conflicts[#conflicts + 1] = i - 1 end
end
if #conflicts > 1 then return conflicts end
local first_redriven = 10 + 4 * users + 5 * changes
for i = first_redriven, #ARGV do
  if redis.call('SISMEMBER', KEYS[#KEYS], ARGV[i]) == 1 then return {'REV'} end
end
for i = 1, users do
  local key, at = KEYS[4 + i], 6 + 4 * i
  if ARGV[at] == 'A' then
    redis.call('SETRANGE', key, 0, ARGV[at + 2])
    redis.call('APPEND', key, ARGV[at + 3])
  else
    redis.call('SET', key, ARGV[at + 2])
  end
end
local at = 10 + 4 * users
for _ = 1, changes do
  local bucket = KEYS[tonumber(ARGV[at])]
  redis.call('HINCRBY', bucket, ARGV[at + 1], ARGV[at + 2])
  redis.call('HINCRBY', bucket, ARGV[at + 3], ARGV[at + 4])
  at = at + 5
end
if changes > 0 then
  local id = redis.call('INCR', KEYS[3])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[8], string.format('%.0f-0', id), 'd', ARGV[9])
end
for i = first_redriven, #ARGV do redis.call('SADD', KEYS[#KEYS], ARGV[i]) end
local now = redis.call('TIME')
local stamp = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('SET', KEYS[2], table.concat({ARGV[5], fence, owner, stamp}, ' '))
return {'OK'}
