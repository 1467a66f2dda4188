-- Makes the generation that was built the live one of a shard.
-- KEYS: live generation, generation being built, then watermarks of the live one
-- ARGV: live generation ('' where any may be), generation built, owner that these watermarks must have
local live = redis.call('GET', KEYS[1]) or ''
if ARGV[1] ~= '' and live ~= ARGV[1] then return {'GEN', live} end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'GEN', live} end
for i = 3, #KEYS do
  local _, fence, owner = string.match(redis.call('GET', KEYS[i]) or '', '^(%d+) (%d+) (%S+)')
  if owner ~= ARGV[3] then return {'FENCED', fence or ''} end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return {'OK'}
