-- What the scripts about presence share; it is put in front of each of them.
--
-- Of a room with somebody present there are three keys, which expire together:
--   leases   sorted set  "client holder" -> when the lease ends, in ms of this server
--   joined   sorted set  client -> its place in the order of joining: 1000 times when, and one more
--                        than the one before where that is not more
--   clients  hash        client -> "<leases held> <joined> <from>"
-- client, holder and from are escaped by the caller, so that no blank is in them.
-- ARGV[1] is PUBLISH or SPUBLISH.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(n) return string.format('%.0f', n) end
local nowText = text(now)

-- At most this many ended leases are swept a room and call, so that no call takes long.
local sweepLimit = 500

local frames, channels = {}, {}
local function tell(room, sign, since, client, from)
  local list = frames[room.channel]
  if not list then
    list = {}
    frames[room.channel] = list
    channels[#channels + 1] = room.channel
  end
  list[#list + 1] = 'p ' .. room.name .. ' ' .. sign .. ' ' .. since .. ' ' ..
    text(redis.call('ZCARD', room.joined)) .. ' ' .. nowText .. ' ' .. client .. ' ' .. from .. '\n'
end

-- flush sends the events gathered, at the end, when everything is stored.
local function flush()
  for _, channel in ipairs(channels) do
    redis.pcall(ARGV[1], channel, table.concat(frames[channel]))
  end
end

local function held(room, client)
  local value = redis.call('HGET', room.clients, client)
  if not value then return 0, nowText, '' end
  local count, since, from = string.match(value, '^(%d+) (%d+) (%S*)$')
  return tonumber(count) or 0, since or nowText, from or ''
end

-- take counts a lease that is new; the first of a client is its joining.
local function take(room, client, from)
  local count, since, was = held(room, client)
  if was ~= '' then from = was end
  redis.call('HSET', room.clients, client, text(count + 1) .. ' ' .. since .. ' ' .. from)
  if count == 0 then
    local last = redis.call('ZRANGE', room.joined, -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', room.joined, text(math.max(now * 1000, tonumber(last or 0) + 1)), client)
    tell(room, '+', since, client, from)
  end
end

-- drop ends a lease; the last of a client is its leaving.
local function drop(room, lease)
  if redis.call('ZREM', room.leases, lease) == 0 then return end
  local client = string.match(lease, '^%S+')
  local count, since, from = held(room, client)
  if count > 1 then
    redis.call('HSET', room.clients, client, text(count - 1) .. ' ' .. since .. ' ' .. from)
    return
  end
  redis.call('HDEL', room.clients, client)
  if redis.call('ZREM', room.joined, client) == 1 then tell(room, '-', since, client, from) end
end

-- sweep drops leases that have ended, and returns whether there may be more of them.
local function sweep(room)
  local ended = redis.call('ZRANGEBYSCORE', room.leases, '-inf', nowText, 'LIMIT', 0, sweepLimit)
  for _, lease in ipairs(ended) do drop(room, lease) end
  return #ended == sweepLimit
end
