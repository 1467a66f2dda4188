#!lua flags=no-writes
-- Reads what a batch will change of each user: header and newest events, or the whole value when it will be rewritten.
-- Stops before a user with whom the values read would pass a number of bytes, though not before the first.
-- KEYS: live generation, then one ledger a user, then the cuts of forgotten users
-- ARGV: generation, first 4 bytes of a ledger as it would be written (version, layout, D), embedding id, header bytes,
--       most events a tail may hold beside no entries, entries that allow it one more, length below which a value is
--       read whole, most bytes, then the number of new events a user
-- Gives: OK, how many forget events the shard has applied, '' for none; of each user, by comma, - for nothing, W for the
--        whole value, or, for header and newest events, how many events the tail has; the values
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local kind_written, embedding, size, most, step = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local whole, left = math.max(tonumber(ARGV[7]), size), tonumber(ARGV[8])
local kinds, found = {}, {'OK', redis.call('HGET', KEYS[#KEYS], '') or '', ''}
for i = 2, #KEYS - 1 do
  local kind, value = '-', redis.call('GETRANGE', KEYS[i], 0, whole - 1)
  if #value == whole then
    local base = struct.unpack('<I4', value, 5)
    local length, first = redis.call('STRLEN', KEYS[i]), size + 24 * base
    local tail = (length - first) / 20
    if string.sub(value, 1, 4) == kind_written and string.sub(value, 49, 56) == embedding
        and tail % 1 == 0 and tail + tonumber(ARGV[7 + i]) <= most + math.floor(base / step) then
      kind = tail
      value = string.sub(value, 1, size) .. redis.call('GETRANGE', KEYS[i], math.max(first, length - 20 * most), -1)
    else
      kind = 'W'
      if i > 2 and length > left then break end
      value = redis.call('GET', KEYS[i])
    end
  elseif #value > 0 then
    kind = 'W'
  end
  left = left - #value
  if left < 0 and i > 2 then break end
  kinds[i - 1], found[i + 2] = kind, value
end
found[3] = table.concat(kinds, ',')
return found
