-- What the holder of a partition may do, nobody else may: every check of that, before the first write.
-- KEYS: live generation, watermark, ...
-- ARGV: generation, fence, owner, ...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local watermark = redis.call('GET', KEYS[2])
if not watermark then return {'OFFSET', ''} end
local next_offset, fence, owner = string.match(watermark, '^(%d+) (%d+) (%S+)')
if tonumber(fence) > tonumber(ARGV[2]) or (fence == ARGV[2] and owner ~= ARGV[3]) then return {'FENCED', fence} end
if fence ~= ARGV[2] then return {'OFFSET', next_offset} end
