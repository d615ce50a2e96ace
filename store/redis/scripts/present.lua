-- Lists who is present in a room. Follows presence.lua.
--
-- KEYS     the room's leases, joined and clients
-- ARGV[2]  channel, ARGV[3] name
-- ARGV[4]  most members to list
--
-- Returns a list: 1 where ended leases may be left, so that the call is to be made again, else 0;
-- the number of clients present; then for every member listed: client, since, from.

local room = { leases = KEYS[1], joined = KEYS[2], clients = KEYS[3], channel = ARGV[2], name = ARGV[3] }
local more = sweep(room)
flush()
local out = { more and '1' or '0', text(redis.call('ZCARD', room.joined)) }
local limit = tonumber(ARGV[4])
if limit > 0 and not more then
  local members = redis.call('ZRANGE', room.joined, 0, text(limit - 1))
  for _, client in ipairs(members) do
    local _, since, from = held(room, client)
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = client, since, from
  end
end
return out
