-- Applies changes of item statistics and gives them to the readers of the delta stream.
-- packed: a token, then a change: item (8 bytes), count (4), sum (8), little-endian; changes of one bucket in a row
-- first: the bucket of the first change is KEYS[first], the next bucket's the next key
-- buckets: how many there are; it divides 65536, so that an item's first two bytes tell its own
local function change_statistics(packed, first, buckets, most_deltas, drops_empty)
  local key, bucket = first - 1, -1
  for at = 9, #packed, 20 do
    local low, high = string.byte(packed, at, at + 1)
    local own = (low + 256 * high) % buckets
    if own ~= bucket then key, bucket = key + 1, own end
    local item = string.sub(packed, at, at + 7)
    local count, sum = struct.unpack('<i4i8', packed, at + 8)
    local left = redis.call('HINCRBY', KEYS[key], item .. 'c', count)
    redis.call('HINCRBY', KEYS[key], item .. 's', sum)
    if drops_empty and left == 0 then redis.call('HDEL', KEYS[key], item .. 'c', item .. 's') end
  end
  if #packed > 8 then
    local id = redis.call('INCR', KEYS[3])
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', most_deltas, string.format('%.0f-0', id), 'd', packed)
  end
end

local function move_watermark(new)
  local now = redis.call('TIME')
  local stamp = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
  redis.call('SET', KEYS[2], table.concat({new, fence, owner, stamp}, ' '))
end

if next_offset ~= ARGV[4] then return {'OFFSET', next_offset} end
