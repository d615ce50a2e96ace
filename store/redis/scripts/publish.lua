-- Publishes a batch of messages.
--
-- KEYS[1]            the fence of the calling lane
-- KEYS[2..]          for every room with history: its position; then for every one of them: its
--                    stream; then for every element with a key, in order: its idempotency key
-- ARGV[1]  sequence  number of this call in its lane, rising; a repetition has the number of the first try
-- ARGV[2]  notAfter  store time in ms past which the call must not take effect any more
-- ARGV[3]  random    13 characters that end the name of an epoch that begins here
-- ARGV[4]  maxCount, ARGV[5] slackCount: when more than their sum are kept, the oldest go until maxCount are left
-- ARGV[6]  maxBytes, ARGV[7] slackBytes: the same for the sum of sizes
-- ARGV[8]  age       ms a message is kept
-- ARGV[9]  headTTL   ms a room's position is kept
-- ARGV[10] fenceTTL  ms the fence is kept
-- ARGV[11] command   PUBLISH or SPUBLISH
-- ARGV[12] rooms     how many rooms the elements have, and ARGV[13] of how many there is history:
--                    those come first. A room with messages of both kinds is there twice.
-- ARGV[14..]         for every room: name, channel
--                    then for every element: room (its number, from 1), id, from, data, sizes,
--                      fingerprint and, unless that is empty, which means that there is no key,
--                      ms the key is kept
--                      sizes are those of id, from and data, for the frame: "10 4 200"
--
-- Returns text. The first line is
--   ok <now> <sequence>  the call took effect; a line per element follows. Behind it may stand
--   ok … - <error>       what Redis refused when all was stored: to trim a history, or to let it expire
--   stale <now>          notAfter has passed; nothing was done
--   fenced <now>         a later call of the lane has taken effect; nothing was done
--   - <error>            Redis refused already to tell what calls there were; nothing was done
-- and the line of an element one of
--   + <epoch> <offset> <time>        published (- 0 for an ephemeral message); without the time: now
--   +                                published behind the room's element before, at the same time
--   = <epoch> <offset> <time> <id>   its key had been used for the same content: that publish
--   !                                its key had been used for other content
--   - <error>                        Redis refused; this element was not applied
--
-- Order of effects: to see whether a key is free and to take it is one command, so that comes first.
-- What can fail after it (XADD) gives the key back. A position is written when its stream has been,
-- and nothing is told to watchers before everything is stored. What is left then (to trim, and to let
-- expire) may be refused to this user, but must not end the call: the stream has what the position lacks. Redis checks its memory limit, and
-- whether it takes writes, at the first write only, which both SET and XADD may be: so a call either
-- is refused whole or runs to its end.
--
-- Half of a call's time is Lua, not Redis' commands, and most of that is texts: Redis' Lua goes
-- through every byte of every text that comes to be, arguments and answers too. So texts are put
-- together once and as late as can be (the frames), told once a room (its names), or not at all
-- (most lines of the answer). Numbers are made into text once, with %d, which is twice as fast as
-- the format that joining them takes; "x + 0" is a third of tonumber(x).

local call, try, format, match = redis.call, redis.pcall, string.format, string.match
local KEYS, ARGV = KEYS, ARGV

local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(n) return format('%d', n) end
local nowText = text(now)
local function clean(message) return '- ' .. string.gsub(message, '[\r\n]', ' ') end

local sequence = ARGV[1] + 0
if now > ARGV[2] + 0 then return 'stale ' .. nowText end
local fence = try('GET', KEYS[1])
if type(fence) == 'table' then return clean(fence.err) end
if fence then
  local before = tonumber(match(fence, '^ok %d+ (%d+)') or 0)
  if before == sequence then return fence end
  if before > sequence then return 'fenced ' .. nowText end
end

local maxCount, slackCount = ARGV[4] + 0, ARGV[5] + 0
local maxBytes, slackBytes = ARGV[6] + 0, ARGV[7] + 0
local age = ARGV[8] + 0
-- Keys are renewed when they would not outlive the message by what they should, and then for a while
-- more, so that it need not be done for every message.
local more = math.floor(age / 16)

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

-- open makes a room of its position, which is the value that MGET has given. Where it has given none, GET
-- tells why: MGET says of a key of another type that there is none, and who looks after the database may
-- allow it to us only later.
local function open(head, value, stream, name, channel)
  if not value then value = try('GET', head) end
  local epoch, offset, id, time, floor, floorID, bytes, due, ends, since, base
  if type(value) == 'table' then return { name = name, channel = channel, err = value.err } end
  if value then
    epoch, offset, id, time, floor, floorID, bytes, due, ends, since, base =
      match(value, '^(%w+) (%d+) (%S+) (%d+) (%d+) (%S+) (%d+) (%d+) ?(%d*) ?(%d*) ?(%d*)')
  end
  if not due then
    epoch, offset, id, time, floor, floorID, bytes, due, ends, base =
      newEpoch(''), '0', '-', '0', '0', '-', '0', '0', '', ''
  end
  if base == '' then since, base = offset, '0' end
  if ends ~= '' then
    -- It is too early, or later than any call would make it now: the clock went back, or age is less than it was.
    local left = ends - age - now
    if left < 0 or left > more then ends = '' end
  end
  local newest = time + 0
  local stale = newest > 0 and now >= newest + age -- the stream has expired as a whole, or ought to have
  if stale then floor, floorID, bytes, base = offset, id, '0', text(base + bytes) end
  local room = { -- with 16 fields: for one more Lua would take twice the memory
    name = name, channel = channel, stream = stream, epoch = epoch, id = id,
    offset = offset + 0, kept = offset - floor, bytes = bytes + 0,
    floor = floor, floorID = floorID, due = due, -- texts, for they seldom change
    time = newest > now and time or nowText, -- of the next message: later than now where the clock went back
    ends = ends ~= '' and ends, -- when its keys expire; false: renew them
    since = since, base = base, -- the sum of the sizes of all messages behind the offset since that have gone
    told = false, -- the offset of the newest message as text, once the answer has told one of this epoch
  }
  if stale then room.stale = true end
  return room
end

local rooms = {}
local last, a, k = #ARGV, 14, 2
local all, histories = ARGV[12] + 0, ARGV[13] + 0
do
  for first = 1, histories, 256 do -- unpack has a limit
    local to = math.min(histories, first + 255)
    local values = try('MGET', unpack(KEYS, first + 1, to + 1))
    for i = first, to do
      rooms[i] = open(KEYS[i + 1], values[i - first + 1], KEYS[i + 1 + histories], ARGV[a], ARGV[a + 1])
      a = a + 2
    end
  end
  for i = histories + 1, all do
    rooms[i] = { name = ARGV[a], channel = ARGV[a + 1], ephemeral = true }
    a = a + 2
  end
  k = k + 2 * histories
end

-- add calls XADD, and returns its error or nothing. A stream that ought to be there may be gone (deleted,
-- evicted) all the same: then nothing is kept, and it must not come to be without an expiry.
local function add(room, offset, id, from, data, sum)
  local stream, time, added = room.stream, room.time, false
  if room.kept > 0 and not sum then -- nearly always
    added = try('XADD', stream, 'NOMKSTREAM', offset, 'i', id, 't', time, 'f', from, 'd', data)
  elseif room.kept > 0 then
    added = try('XADD', stream, 'NOMKSTREAM', offset, 'i', id, 't', time, 'f', from, 'd', data, 's', sum)
  end
  if not added then
    room.ends = false
    if room.kept > 0 then
      room.base = text(room.base + room.bytes)
      room.floor, room.floorID, room.kept, room.bytes = text(room.offset), room.id, 0, 0
    end
    local fields = { 'i', id, 't', time, 'f', from, 'd', data }
    if sum then fields[9], fields[10] = 's', sum end
    added = try('XADD', stream, offset, unpack(fields))
  end
  return type(added) == 'table' and added.err
end

-- Every so many messages of a room one is stored with the sum of sizes so far, see trim.
local summed = 16

-- append stores a message in its room's history, at the next offset. It returns an error, or nothing.
local function append(room, offset, id, from, data)
  local size = #data + #from + #room.name + 128
  local sum
  if (room.offset + 1) % summed == 0 then sum = room.since .. ' ' .. text(room.base + room.bytes + size) end
  local err = add(room, offset, id, from, data, sum)
  if err and string.find(err, 'equal or smaller', 1, true) then
    -- The stream is of a history whose position is gone, or runs ahead of it: neither may be
    -- continued in silence, so a new epoch begins.
    local done = try('DEL', room.stream)
    if type(done) == 'table' then return done.err end
    if room.offset > 0 then
      room.epoch, room.offset, room.told = newEpoch(room.epoch), 0, false
      room.floor, room.floorID, room.kept, room.bytes = '0', '-', 0, 0
      room.since, room.base = '0', '0'
    end
    err = add(room, '1', id, from, data)
  end
  if err then return err end
  if room.kept == 0 then room.due = text(room.time + age) end
  room.offset, room.kept, room.id = room.offset + 1, room.kept + 1, id
  room.bytes = room.bytes + size
end

local frames, channels = {}, {}

-- use takes an idempotency key, with its value to be, for a publish that has yet to happen. It returns
-- the line of the element where that may not happen: the key had been used, or Redis refuses.
local function use(key, print, keep, value, refused)
  local used
  if not refused then
    used = try('SET', key, value, 'NX', 'GET', 'PX', keep)
    if not used then return end
    refused = type(used) == 'table' and used.err
  end
  if refused then -- what was published before is told all the same
    used = try('GET', key)
    if type(used) == 'table' then return clean(used.err) end
  end
  if used then
    local first, epoch, offset, id, time = match(used, '^(%x+) (%S+) (%d+) (%S+) (%d+)')
    if first ~= print then return '!' end
    return '= ' .. epoch .. ' ' .. offset .. ' ' .. time .. ' ' .. id
  end
  return refused and clean(refused)
end

local function publish(room, id, from, data, sizes, key, print, keep)
  local epoch, offset, time = '-', '0', nowText
  if room.epoch then
    epoch, offset, time = room.epoch, text(room.offset + 1), room.time
  end
  if key then
    local line = use(key, print, keep, print .. ' ' .. epoch .. ' ' .. offset .. ' ' .. id .. ' ' .. time, room.err)
    if line then return line end
  end
  local line = '+ - 0'
  if not room.ephemeral then
    local err = room.err or append(room, offset, id, from, data)
    if err then
      if key and type(try('DEL', key)) == 'table' then -- a user without the right to
        call('SET', key, '', 'PX', 1)
      end
      return clean(err)
    end
    if epoch ~= room.epoch then -- which has just begun
      epoch, offset = room.epoch, '1'
      if key then call('SET', key, print .. ' ' .. epoch .. ' 1 ' .. id .. ' ' .. time, 'PX', keep) end
    end
    if room.told then
      line = '+'
    else
      line = '+ ' .. epoch .. ' ' .. offset
      if time ~= nowText then line = line .. ' ' .. time end
    end
    room.told = offset
  end
  local header = 'm ' .. room.name .. ' ' .. epoch .. ' ' .. offset .. ' ' .. time .. ' ' .. sizes .. '\n'
  local pieces = frames[room.channel]
  if pieces then
    local n = #pieces
    pieces[n + 1], pieces[n + 2], pieces[n + 3], pieces[n + 4], pieces[n + 5] = header, id, from, data, '\n'
  else
    frames[room.channel] = { header, id, from, data, '\n' }
    channels[#channels + 1] = room.channel
  end
  return line
end

-- tidy calls a command without which the messages are stored all the same, and returns nothing where
-- Redis refuses it.
local complaint
local function tidy(...)
  local answer = try(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  complaint = answer.err
end

-- cut lets go of everything up to the offset floor.
local function cut(room, floor)
  room.floor, room.kept = text(floor), room.offset - floor
  tidy('XTRIM', room.stream, 'MINID', text(floor + 1))
end

-- trim moves the floor up to where count, bytes and age allow it.
local function trim(room, heavy)
  local floor, upTo = room.floor + 0, 0
  if room.kept > maxCount + slackCount then
    upTo = room.offset - maxCount
    -- To look at every message that goes, for its size, takes longer than it took to publish them.
    -- Where it is only that they are too many, the message with the sum says it for all before it.
    local at = upTo - upTo % summed
    if at > floor and room.offset - at <= maxCount + slackCount and not heavy and now < room.due + 0 then
      local entries = tidy('XRANGE', room.stream, text(at), text(at + 1)) or {}
      local fields, first = entries[1] and entries[1][2], entries[2]
      local sum = first and fields[10] and match(fields[10], '^' .. room.since .. ' (%d+)$')
      if sum then
        room.floorID, room.bytes, room.base = fields[2], room.base + room.bytes - sum, sum
        room.due = text(first[2][4] + age)
        return cut(room, at)
      end
    end
  end
  local before, bytes, open = floor, room.bytes, true
  local count = math.min(100, math.max(16, upTo - floor + 1))
  while open and floor < room.offset - 1 do
    local entries = tidy('XRANGE', room.stream, text(floor + 1), '+', 'COUNT', count) or {}
    open = #entries == count
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      local offset, time = match(entry[1], '^%d+') + 0, fields[4] + 0
      if offset >= room.offset or
        not (offset <= upTo or (heavy and room.bytes > maxBytes) or time + age <= now) then
        room.due = text(time + age)
        if offset > floor + 1 then floor, room.floorID = offset - 1, '0' end
        open = false
        break
      end
      floor, room.floorID = offset, fields[2]
      room.bytes = math.max(0, room.bytes - #fields[8] - #fields[6] - #room.name - 128)
    end
  end
  if floor > before then
    room.base = text(room.base + bytes - room.bytes)
    cut(room, floor)
  end
end

local results, n = { 'ok ' .. nowText .. ' ' .. ARGV[1] }, 1
while a <= last do
  local room, id, from, data, sizes, print = rooms[ARGV[a] + 0], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local key, keep
  a = a + 6
  if print ~= '' then
    key, keep = KEYS[k], ARGV[a]
    k, a = k + 1, a + 1
  end
  n = n + 1
  results[n] = publish(room, id, from, data, sizes, key, print, keep)
end

local function keep(head, room)
  if room.stale then tidy('XTRIM', room.stream, 'MINID', text(room.floor + 1)) end
  local heavy = room.bytes > maxBytes + slackBytes
  if heavy or room.kept > maxCount + slackCount or now >= room.due + 0 then trim(room, heavy) end
  local renew = not room.ends
  if renew then
    room.ends = text(now + age + more)
    if not tidy('PEXPIRE', room.stream, text(age + more)) then room.ends = '0' end -- the next call tries again
  end
  local value = room.epoch .. ' ' .. room.told .. ' ' .. room.id .. ' ' .. room.time .. ' ' ..
    room.floor .. ' ' .. room.floorID .. ' ' .. text(room.bytes) .. ' ' .. room.due .. ' ' ..
    room.ends .. ' ' .. room.since .. ' ' .. room.base
  if renew then
    call('SET', head, value, 'PX', text(ARGV[9] + more))
  else
    call('SET', head, value, 'KEEPTTL')
  end
end
for i = 1, histories do
  if rooms[i].told then keep(KEYS[i + 1], rooms[i]) end
end

if complaint then results[1] = results[1] .. ' ' .. clean(complaint) end

local answer = table.concat(results, '\n')
local kept = try('SET', KEYS[1], answer, 'PX', ARGV[10])
if kept.err then
  -- Nothing was written before, so nothing is lost by telling nobody: refuse the ephemeral messages.
  local refused = clean(kept.err)
  for i = 2, n do
    if string.sub(results[i], 1, 1) == '+' then results[i] = refused end
  end
  return table.concat(results, '\n')
end
for _, channel in ipairs(channels) do
  try(ARGV[11], channel, table.concat(frames[channel]))
end
return answer
