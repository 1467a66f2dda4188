#!lua flags=no-writes
-- Looks for ledgers that nobody touched for a while and that hold memory they may not need: an allocation far longer
-- than the value, as APPEND makes, or more events in the tail than are kept. A fresh allocation is at most a quarter
-- longer than asked for, so a third tells the two apart. Stops before values would pass a number of bytes.
-- KEYS: live generation, then ledgers
-- ARGV: generation, seconds, events a tail keeps, most bytes
-- Gives: OK, how many ledgers were looked at, then of each found: its number from 0, whether the allocation is too
--        long, and the value
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local found, left = {'OK', #KEYS - 1}, tonumber(ARGV[4])
for i = 2, #KEYS do
  local idle = redis.pcall('OBJECT', 'IDLETIME', KEYS[i])
  if type(idle) == 'number' and idle >= tonumber(ARGV[2]) then
    local length = redis.call('STRLEN', KEYS[i])
    local _, _, d, base = struct.unpack('<BBHI4', redis.call('GETRANGE', KEYS[i], 0, 7))
    local spare = redis.call('MEMORY', 'USAGE', KEYS[i]) - length - #KEYS[i]
    local is_loose = spare > 128 + length / 3
    if is_loose or (length - 56 - 8 * d - 24 * base) / 20 > tonumber(ARGV[3]) then
      if length > left and #found > 2 then
        found[2] = i - 2
        break
      end
      left = left - length
      found[#found + 1] = i - 2
      found[#found + 1] = is_loose and 1 or 0
      found[#found + 1] = redis.call('GET', KEYS[i])
    end
  end
end
return found
