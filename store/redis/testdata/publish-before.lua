-- Publishes a batch of messages.
--
-- KEYS[1]            the fence of the calling lane
-- KEYS[2..]          for every element, in order:
--                      with history: its room's position and its room's stream
--                      with a key:   its idempotency key
-- ARGV[1]  sequence  number of this call in its lane, rising; a repetition has the number of the first try
-- ARGV[2]  notAfter  store time in ms past which the call must not take effect any more
-- ARGV[3]  random    13 characters that end the name of an epoch that begins here
-- ARGV[4]  maxCount, ARGV[5] slackCount: when more than their sum are kept, the oldest go until maxCount are left
-- ARGV[6]  maxBytes, ARGV[7] slackBytes: the same for the sum of sizes
-- ARGV[8]  age       ms a message is kept
-- ARGV[9]  headTTL   ms a room's position is kept
-- ARGV[10] fenceTTL  ms the fence is kept
-- ARGV[11] command   PUBLISH or SPUBLISH
-- ARGV[12..]         for every element: kind, channel, room, id, from, data, sizes
--                      kind is h (history) or e (ephemeral), followed by k where two more
--                      arguments follow: fingerprint, ms the key is kept
--                      sizes are those of id, from and data, for the frame: "10 4 200"
--
-- Returns text. The first line is
--   ok <now>       the call took effect; a line per element follows
--   stale <now>    notAfter has passed; nothing was done
--   fenced <now>   a later call of the lane has taken effect; nothing was done
-- and the line of an element one of
--   + <epoch> <offset> <time>        published (- 0 for an ephemeral message)
--   = <epoch> <offset> <time> <id>   its key had been used for the same content: that publish
--   !                                its key had been used for other content
--   - <error>                        Redis refused; this element was not applied
--
-- Order of effects: what can fail (XADD) comes before what depends on it, and nothing is told to
-- watchers before everything is stored. Redis checks its memory limit at the first write only, so
-- that a call either is refused whole or runs to its end.
--
-- Most of a call's time is Lua, not Redis' commands, and most of that is numbers made into text
-- and tables that grow; hence texts that are kept beside their numbers.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- A number is joined to a text with 14 digits, which is enough for times and sizes always, and
-- for offsets nearly always.
local function text(n)
  if n < 1e14 then return n .. '' end
  return string.format('%.0f', n)
end
local nowText = now .. ''

local sequence = tonumber(ARGV[1])
if now > tonumber(ARGV[2]) then return 'stale ' .. nowText end
local fence = redis.call('GET', KEYS[1])
if fence then
  local cut = string.find(fence, '\n', 1, true)
  local last = cut and tonumber(string.sub(fence, 1, cut - 1)) or 0
  if last == sequence then return string.sub(fence, cut + 1) end
  if last > sequence then return 'fenced ' .. nowText end
end

local maxCount, slackCount = tonumber(ARGV[4]), tonumber(ARGV[5])
local maxBytes, slackBytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local age = tonumber(ARGV[8])

-- newEpoch names an epoch that sorts after the one before, '' if that is not known.
local function newEpoch(before)
  local n, out = math.max(now, (tonumber(string.sub(before, 1, 9), 36) or 0) + 1), ''
  for _ = 1, 9 do
    local d = n % 36
    n = (n - d) / 36
    out = string.sub('0123456789abcdefghijklmnopqrstuvwxyz', d + 1, d + 1) .. out
  end
  return out .. ARGV[3]
end

local rooms, touched = {}, {}

-- open reads a room's position, once a call.
local function open(head, stream, name)
  local value = redis.pcall('GET', head)
  local epoch, offset, id, time, floor, floorID, bytes, due
  if type(value) == 'table' then return nil, value.err end
  if value then
    epoch, offset, id, time, floor, floorID, bytes, due =
      string.match(value, '^(%w+) (%d+) (%S+) (%d+) (%d+) (%S+) (%d+) (%d+)')
  end
  if not due then
    epoch, offset, id, time, floor, floorID, bytes, due = newEpoch(''), '0', '-', '0', '0', '-', '0', '0'
  elseif now >= time + age then -- the stream has expired as a whole
    floor, floorID, bytes = offset, id, '0'
  end
  local room = {
    head = head, stream = stream, nameSize = #name, touched = false,
    epoch = epoch, id = id, floorID = floorID,
    offset = tonumber(offset), offsetText = offset, time = tonumber(time), timeText = time,
    floor = tonumber(floor), floorText = floor, bytes = tonumber(bytes),
    due = tonumber(due), dueText = due,
  }
  rooms[head] = room
  return room
end

local function add(room, offset, id, time, from, data)
  local added = redis.pcall('XADD', room.stream, offset .. '-0', 'i', id, 't', time, 'f', from, 'd', data)
  return type(added) == 'table' and added.err
end

-- append stores a message in its room's history; it returns an error or nothing.
local function append(room, id, from, data)
  local time, timeText = now, nowText
  if room.time > now then time, timeText = room.time, room.timeText end -- the clock went back
  local offset = text(room.offset + 1)
  local err = add(room, offset, id, timeText, from, data)
  if err and string.find(err, 'equal or smaller', 1, true) then
    -- The stream is of a history whose position is gone, or runs ahead of it: neither may be
    -- continued in silence, so a new epoch begins.
    redis.call('DEL', room.stream)
    if room.offset > 0 then
      room.epoch, room.offset = newEpoch(room.epoch), 0
      room.floor, room.floorText, room.floorID, room.bytes = 0, '0', '-', 0
    end
    offset = '1'
    err = add(room, offset, id, timeText, from, data)
  end
  if err then return err end
  if not room.touched then
    room.touched = true
    touched[#touched + 1] = room
  end
  if room.floor == room.offset then room.due, room.dueText = time + age, text(time + age) end
  room.offset, room.offsetText, room.id, room.time, room.timeText = room.offset + 1, offset, id, time, timeText
  room.bytes = room.bytes + #data + #from + room.nameSize + 128
end

local frames, channels = {}, {}

local function clean(message) return '- ' .. string.gsub(message, '[\r\n]', ' ') end

local k, a = 2, 12
local function publish()
  local kind, channel, name, id, from, data, sizes =
    ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6]
  a = a + 7
  local history = kind == 'h' or kind == 'hk'
  local head, stream, key, print, keep
  if history then
    head, stream = KEYS[k], KEYS[k + 1]
    k = k + 2
  end
  if kind == 'hk' or kind == 'ek' then
    key, print, keep = KEYS[k], ARGV[a], ARGV[a + 1]
    k, a = k + 1, a + 2
    local used = redis.pcall('GET', key)
    if type(used) == 'table' then return clean(used.err) end
    if used then
      local first, epoch, offset, firstID, time = string.match(used, '^(%x+) (%S+) (%d+) (%S+) (%d+)')
      if first ~= print then return '!' end
      return '= ' .. epoch .. ' ' .. offset .. ' ' .. time .. ' ' .. firstID
    end
  end

  local epoch, offset, time = '-', '0', nowText
  if history then
    local room, err = rooms[head], nil
    if not room then room, err = open(head, stream, name) end
    err = err or append(room, id, from, data)
    if err then return clean(err) end
    epoch, offset, time = room.epoch, room.offsetText, room.timeText
  end
  if key then
    local set = redis.pcall('SET', key, print .. ' ' .. epoch .. ' ' .. offset .. ' ' .. id .. ' ' .. time, 'PX', keep)
    -- Only an ephemeral message can fail here: after a message was stored Redis refuses nothing.
    if set.err and not history then return clean(set.err) end
  end
  local frame = 'm ' .. name .. ' ' .. epoch .. ' ' .. offset .. ' ' .. time .. ' ' .. sizes .. '\n' ..
    id .. from .. data .. '\n'
  local list = frames[channel]
  if list then
    list[#list + 1] = frame
  else
    frames[channel] = { frame }
    channels[#channels + 1] = channel
  end
  return '+ ' .. epoch .. ' ' .. offset .. ' ' .. time
end

-- trim moves the floor up to where count, bytes and age allow it.
local function trim(room, heavy)
  local upTo = room.floor
  if room.offset - room.floor > maxCount + slackCount then upTo = room.offset - maxCount end
  local before, open = room.floor, true
  while open and room.floor < room.offset - 1 do
    local entries = redis.call('XRANGE', room.stream, text(room.floor + 1) .. '-0', '+', 'COUNT', 100)
    open = #entries == 100
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      local offset = tonumber(string.match(entry[1], '^%d+'))
      local time = tonumber(fields[4])
      if offset >= room.offset or
        not (offset <= upTo or (heavy and room.bytes > maxBytes) or time + age <= now) then
        room.due, room.dueText = time + age, text(time + age)
        if offset > room.floor + 1 then room.floor, room.floorID = offset - 1, '0' end
        open = false
        break
      end
      room.floor, room.floorID = offset, fields[2]
      room.bytes = math.max(0, room.bytes - #fields[8] - #fields[6] - room.nameSize - 128)
    end
  end
  if room.floor > before then
    room.floorText = text(room.floor)
    redis.call('XTRIM', room.stream, 'MINID', text(room.floor + 1) .. '-0')
  end
end

local results, last = { 'ok ' .. nowText }, #ARGV
while a <= last do
  results[#results + 1] = publish()
end

for _, room in ipairs(touched) do
  local heavy = room.bytes > maxBytes + slackBytes
  if heavy or room.offset - room.floor > maxCount + slackCount or now >= room.due then trim(room, heavy) end
  redis.call('PEXPIRE', room.stream, ARGV[8])
  redis.call('SET', room.head, room.epoch .. ' ' .. room.offsetText .. ' ' .. room.id .. ' ' .. room.timeText .. ' ' ..
    room.floorText .. ' ' .. room.floorID .. ' ' .. room.bytes .. ' ' .. room.dueText, 'PX', ARGV[9])
end

local answer = table.concat(results, '\n')
local kept = redis.pcall('SET', KEYS[1], ARGV[1] .. '\n' .. answer, 'PX', ARGV[10])
if kept.err then
  -- Nothing was written before, so nothing is lost by telling nobody: refuse the ephemeral messages.
  local refused = clean(kept.err)
  for i = 2, #results do
    if string.sub(results[i], 1, 1) == '+' then results[i] = refused end
  end
  return table.concat(results, '\n')
end
for _, channel in ipairs(channels) do
  redis.pcall(ARGV[11], channel, table.concat(frames[channel]))
end
return answer
