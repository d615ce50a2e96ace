-- Ends leases before their time. Follows presence.lua.
--
-- KEYS[1..]  for every room: its leases, joined and clients
-- ARGV[2..]  for every room: channel, name, number of leases, then for every lease: client, holder
--
-- Returns 0. Leases that do not exist are passed over.

local a = 2
for k = 1, #KEYS, 3 do
  local room = { leases = KEYS[k], joined = KEYS[k + 1], clients = KEYS[k + 2],
    channel = ARGV[a], name = ARGV[a + 1] }
  local count = tonumber(ARGV[a + 2])
  a = a + 3
  for _ = 1, count do
    drop(room, ARGV[a] .. ' ' .. ARGV[a + 1])
    a = a + 2
  end
end
flush()
return 0
