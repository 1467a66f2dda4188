#!lua flags=no-writes
-- Reads what a batch will change of each user: header and tail, or the whole value when it will be rewritten.
-- KEYS: live generation, then one ledger a user, then the cuts of forgotten users; whether there are any comes last
-- ARGV: generation, D, embedding id, header bytes, most events a tail may hold, then the number of new events a user
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local dim, embedding, size, most = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local found = {'OK'}
for i = 2, #KEYS - 1 do
  local head = redis.call('GETRANGE', KEYS[i], 0, size - 1)
  if head == '' then
    found[i] = false
  else
    local _, _, d, base = struct.unpack('<BBHI4', head)
    local value = nil
    if d == dim and string.sub(head, 49, 56) == embedding then
      local tail = redis.call('GETRANGE', KEYS[i], size + 24 * base, -1)
      if #tail / 20 + tonumber(ARGV[4 + i]) <= most then value = 'P' .. head .. tail end
    end
    found[i] = value or 'W' .. redis.call('GET', KEYS[i])
  end
end
found[#KEYS] = redis.call('EXISTS', KEYS[#KEYS])
return found
