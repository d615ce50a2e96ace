-- Takes and prolongs leases. Follows presence.lua.
--
-- KEYS[1..]  for every room: its leases, joined and clients
-- ARGV[2]    grace  ms that the keys outlive the last lease, so that somebody can find it ended
-- ARGV[3..]  for every room: channel, name, number of leases,
--            then for every lease: client, holder, from, ms to live
--
-- Returns 1 where ended leases may be left to sweep, else 0.

local a, more = 3, 0
for k = 1, #KEYS, 3 do
  local room = { leases = KEYS[k], joined = KEYS[k + 1], clients = KEYS[k + 2],
    channel = ARGV[a], name = ARGV[a + 1] }
  local count = tonumber(ARGV[a + 2])
  a = a + 3
  if sweep(room) then more = 1 end

  local names, clients, scores, longest = {}, {}, {}, 0
  for i = 1, count do
    local ttl = tonumber(ARGV[a + 3])
    names[i], clients[i] = ARGV[a] .. ' ' .. ARGV[a + 1], ARGV[a]
    scores[2 * i - 1], scores[2 * i] = text(now + ttl), names[i]
    longest = math.max(longest, ttl)
    a = a + 4
  end
  local known = redis.call('ZMSCORE', room.leases, unpack(names))
  redis.call('ZADD', room.leases, unpack(scores))
  local there = redis.call('HMGET', room.clients, unpack(clients))
  local seen = {}
  for i, name in ipairs(names) do
    -- A known lease of an unknown client: somebody else deleted a key.
    if not (known[i] and there[i]) and not seen[name] then
      seen[name] = true
      local at = a - 4 * (count - i + 1)
      take(room, ARGV[at], ARGV[at + 2])
    end
  end

  local keep = longest + tonumber(ARGV[2])
  for i = k, k + 2 do
    if redis.call('PTTL', KEYS[i]) < keep then redis.call('PEXPIRE', KEYS[i], text(keep)) end
  end
end
flush()
return more
