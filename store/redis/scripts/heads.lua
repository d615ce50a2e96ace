-- Tells the newest positions of rooms that have readers. Follows presence.lua.
--
-- Renews the life of the positions (not of messages), and sweeps leases that have ended: where
-- the last client of a room went with its node, nobody else would find them.
--
-- KEYS[1..]  for every room: its position, leases, joined and clients
-- ARGV[2]    headTTL  ms a room's position is kept
-- ARGV[3..]  for every room: channel, name
--
-- Returns a list: for every room the value of its position, or false where it has none.

local out = {}
for i = 1, #KEYS / 4 do
  local k = 4 * i - 3
  local value = redis.pcall('GET', KEYS[k])
  if type(value) == 'table' then value = false end -- not ours
  if value then redis.call('PEXPIRE', KEYS[k], ARGV[2], 'GT') end
  out[i] = value
  sweep({ leases = KEYS[k + 1], joined = KEYS[k + 2], clients = KEYS[k + 3],
    channel = ARGV[2 * i + 1], name = ARGV[2 * i + 2] })
end
flush()
return out
