-- Keeps the dead-letter breaker of a partition, for the worker that holds the partition only.
-- KEYS: live generation, watermark, breaker
-- ARGV: generation, fence, owner, value
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'GEN'} end
local watermark = redis.call('GET', KEYS[2])
if not watermark then return {'OFFSET', ''} end
local next_offset, fence, owner = string.match(watermark, '^(%d+) (%d+) (%S+)')
if tonumber(fence) > tonumber(ARGV[2]) or (fence == ARGV[2] and owner ~= ARGV[3]) then return {'FENCED', fence} end
if fence ~= ARGV[2] then return {'OFFSET', next_offset} end
redis.call('SET', KEYS[3], ARGV[4])
return {'OK'}
