-- Finds out which of the commands that the other scripts call this user may call. It calls each of them
-- once, in a way that changes nothing: on a string, which those of other types leave as it is.
--
-- KEYS[1]  a string, or no key: then it is made, for ten seconds at most
-- ARGV[1]  PUBLISH or SPUBLISH, ARGV[2] a channel
--
-- Returns a list: for every command that Redis answers with an error its name and the error. That of a
-- command for another type is one of them.

local key, out = KEYS[1], {}

local function call(name, ...)
  local answer = redis.pcall(name, ...)
  local err = type(answer) == 'table' and answer.err
  if not err then return true end
  out[#out + 1], out[#out + 2] = name, err
end

local there = call('SET', key, '1', 'NX', 'GET', 'PX', '10000')
call('TIME')
call('GET', key)
call('PEXPIRE', key, '10000')
call('PTTL', key)
call('XADD', key, 'NOMKSTREAM', '1-0', 'i', '1')
call('XRANGE', key, '-', '+', 'COUNT', '1')
call('XREVRANGE', key, '+', '-', 'COUNT', '1')
call('XTRIM', key, 'MINID', '1')
call('ZADD', key, 'XX', '1', '1')
call('ZREM', key, '1')
call('ZCARD', key)
call('ZRANGE', key, '0', '0')
call('ZRANGEBYSCORE', key, '0', '0')
call('ZMSCORE', key, '1')
call('HGET', key, '1')
call('HMGET', key, '1')
if there then call('HSET', key, '1', '1') end -- else it would make a key
call('HDEL', key, '1')
call(ARGV[1], ARGV[2], '')
call('DEL', key)
return out
