-- Makes the generation that was built the live one of a shard.
-- KEYS: live generation, generation being built, then watermarks of the live one
-- ARGV: generation built, owner that these watermarks must have
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'GEN', redis.call('GET', KEYS[1]) or ''} end
for i = 3, #KEYS do
  local _, fence, owner = string.match(redis.call('GET', KEYS[i]) or '', '^(%d+) (%d+) (%S+)')
  if owner ~= ARGV[2] then return {'FENCED', fence or ''} end
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return {'OK'}
