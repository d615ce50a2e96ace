-- Reads one page of a room's history. Writes nothing.
--
-- KEYS[1] the room's position, KEYS[2] the room's stream
-- ARGV[1] mode: after, before, oldest or latest
-- ARGV[2] epoch, ARGV[3] offset, ARGV[4] id: where from; an empty epoch is the place before everything
-- ARGV[5] when that epoch was born, in ms, or -1 where its name does not tell
-- ARGV[6] most messages, ARGV[7] most bytes of data (0: any); the first message comes in any case
-- ARGV[8] age       ms a message is kept
-- ARGV[9] patience  ms that an epoch newer than the room's is waited for
--
-- Returns a list:
--   now, 'behind'
--     the position is of an epoch that is newer than the room's and younger than patience
--   now, 'page', epoch, head offset, head id, floor offset, floor id,
--   gap reason or '', gap epoch, gap offset, gap id, first offset, last offset,
--   then for every message: offset, id, time, from, data
--     first and last bound what the direction of reading can still yield, so that the caller
--     knows whether there is more. Messages ascend, except in the modes before and latest.
-- The gaps are those that hub.Page documents; the rest of the page is as if gap's position had
-- been asked for. An offset of 0 says that there is no such position.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function text(n) return string.format('%.0f', n) end

local mode = ARGV[1]
local from = { epoch = ARGV[2], offset = tonumber(ARGV[3]), id = ARGV[4] }
local born = tonumber(ARGV[5])
local limit, bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local age, patience = tonumber(ARGV[8]), tonumber(ARGV[9])

local epoch, offset, id, time, floor, floorID, due
local value = redis.call('GET', KEYS[1])
if value then
  epoch, offset, id, time, floor, floorID, due =
    string.match(value, '^(%w+) (%d+) (%S+) (%d+) (%d+) (%S+) %d+ (%d+)')
end
if due then
  offset, time, floor, due = tonumber(offset), tonumber(time), tonumber(floor), tonumber(due)
else
  epoch, offset, id, time, floor, floorID, due = '', 0, '', 0, 0, '-', 0
end

local function entry(at)
  return redis.call('XRANGE', KEYS[2], text(at) .. '-0', text(at) .. '-0')[1]
end

-- The floor, as age has moved it since the last publish: times ascend with the offsets.
if offset > 0 and now >= time + age then
  floor, floorID = offset, id
elseif offset > 0 and now >= due then
  local low, high = floor, offset
  while low < high do
    local middle = math.ceil((low + high) / 2)
    local e = entry(middle)
    if e and tonumber(e[2][4]) + age > now then
      high = middle - 1
    else
      low, floorID = middle, e and e[2][2] or '0'
    end
  end
  floor = low
end

local gap = { '', '', '0', '' }
local function moved(reason, toOffset, toID)
  gap = { reason, toOffset > 0 and epoch or '', text(toOffset), toOffset > 0 and toID or '' }
  from = { epoch = epoch, offset = toOffset, id = toID }
end

if mode == 'after' or mode == 'before' then
  if from.epoch == '' then
    from.offset = 0
    if mode == 'after' and floor > 0 then moved('evicted', floor, floorID) end
  elseif from.epoch ~= epoch then
    if born >= 0 and from.epoch > epoch and now - born < patience then
      return { text(now), 'behind' }
    end
    moved('lost', floor, floorID)
  elseif from.offset > offset then
    moved('lost', offset, id)
  elseif from.offset == offset then
    if from.id ~= id then moved('fork', offset, id) end
  elseif from.offset < floor then
    moved('evicted', floor, floorID)
  elseif from.offset == floor then
    if from.id ~= floorID then moved('fork', floor, floorID) end
  else
    local e = entry(from.offset)
    if e and e[2][2] ~= from.id then moved('fork', from.offset, e[2][2]) end
  end
end

-- What can be read, low < offset <= high, and where reading begins.
local low, high, entries = floor, offset, {}
local upwards = mode == 'after' or mode == 'oldest'
if mode == 'after' then low = math.max(floor, from.offset) end
if mode == 'before' then high = math.max(0, math.min(offset, from.offset - 1)) end
if low < high then
  if upwards then
    entries = redis.call('XRANGE', KEYS[2], text(low + 1) .. '-0', text(high) .. '-0', 'COUNT', limit)
    local first = entries[1] and tonumber(string.match(entries[1][1], '^%d+')) or high + 1
    if first > low + 1 and mode == 'after' then
      -- Somebody else has removed messages; that is not silent either.
      if first > high then moved('evicted', offset, id) else moved('evicted', first - 1, '0') end
    end
  else
    entries = redis.call('XREVRANGE', KEYS[2], text(high) .. '-0', text(low + 1) .. '-0', 'COUNT', limit)
  end
end

local out = { text(now), 'page', epoch, text(offset), id, text(floor), floor > 0 and floorID or '',
  gap[1], gap[2], gap[3], gap[4], text(low + 1), text(high) }
local sum = 0
for i, e in ipairs(entries) do
  local fields = e[2]
  sum = sum + #fields[8]
  if i > 1 and bytes > 0 and sum > bytes then break end
  local n = #out
  out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] =
    string.match(e[1], '^%d+'), fields[2], fields[4], fields[6], fields[8]
end
return out
