-- Takes a partition over in one shard: checks what the state was made with, raises the fence, returns the position.
-- KEYS: live generation, scale, topic, watermark
-- ARGV: generation, scale, topic id ('' accepts the stored one), owner, first offset ('' when a watermark must be there),
--       1 where the number may be behind: shard 0 is flipped first and says which generation is live
local generation = redis.call('GET', KEYS[1])
if generation and generation ~= ARGV[1] then
  if ARGV[6] ~= '1' or tonumber(generation) > tonumber(ARGV[1]) then return {'GEN', generation} end
end
local scale = redis.call('GET', KEYS[2])
if scale and scale ~= ARGV[2] then return {'SCALE', scale} end
local topic = redis.call('GET', KEYS[3])
if topic and topic ~= ARGV[3] then return {'TOPIC', topic} end
local watermark = redis.call('GET', KEYS[4])
local next_offset, fence = ARGV[5], 0
if watermark then
  next_offset, fence = string.match(watermark, '^(%d+) (%d+) ')
elseif next_offset == '' then
  return {'MISSING'}
end
if generation ~= ARGV[1] then redis.call('SET', KEYS[1], ARGV[1]) end
if not scale then redis.call('SET', KEYS[2], ARGV[2]) end
if not topic then redis.call('SET', KEYS[3], ARGV[3]) end
local now = redis.call('TIME')
local stamp = now[1] * 1000 + math.floor(now[2] / 1000)
fence = string.format('%.0f', fence + 1)
redis.call('SET', KEYS[4], table.concat({next_offset, fence, ARGV[4], string.format('%.0f', stamp)}, ' '))
return {'OK', next_offset, fence}
