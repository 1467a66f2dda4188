#!lua flags=no-writes
-- Reads what a batch will change of each user: header and tail, or the whole value when it will be rewritten. Stops
-- before a user with whom the values read would pass a number of bytes, though not before the first.
-- KEYS: live generation, then one ledger a user, then the cuts of forgotten users; whether there are any comes first
-- ARGV: generation, D, embedding id, header bytes, most events a tail may hold, length below which a value is read
--       whole, most bytes, then the number of new events a user
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local dim, embedding, size, most = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local whole, left = math.max(tonumber(ARGV[6]), size), tonumber(ARGV[7])
local found = {'OK', redis.call('EXISTS', KEYS[#KEYS])}
for i = 2, #KEYS - 1 do
  local start = redis.call('GETRANGE', KEYS[i], 0, whole - 1)
  local value = false
  if #start == whole then
    local _, _, d, base = struct.unpack('<BBHI4', start)
    if d == dim and string.sub(start, 49, 56) == embedding then
      local tail = redis.call('GETRANGE', KEYS[i], size + 24 * base, -1)
      if #tail / 20 + tonumber(ARGV[6 + i]) <= most then value = 'P' .. string.sub(start, 1, size) .. tail end
    end
    if not value then
      if i > 2 and redis.call('STRLEN', KEYS[i]) > left then break end
      value = 'W' .. redis.call('GET', KEYS[i])
    end
  elseif #start > 0 then
    value = 'W' .. start
  end
  if value then
    left = left - #value
    if left < 0 and i > 2 then break end
  end
  found[i + 1] = value
end
return found
