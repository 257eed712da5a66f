"""The steps of the protocol that the server has to do in one go, in its own language.

Each gets the names of its keys and one JSON text, ``task``. Values are the server's clock, in
milliseconds, so that deadlines do not depend on the clocks of the clients.
"""

from __future__ import annotations

_SHARED = """
local task = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function kind(key)
  local found = redis.call('TYPE', key).ok
  if found == 'zset' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    if redis.call('EXISTS', key) == 0 then return 'none' end
  elseif found ~= 'string' and found ~= 'none' then
    redis.call('DEL', key)
    return 'none'
  end
  return found
end
local function columns(rows)
  local names, moves = {}, {}
  for entry in string.gmatch(rows, ' ([^ ]+)') do
    local column, move = string.match(entry, '^([^=]+)=(.*)$')
    if column then
      names[#names + 1] = column
      moves[column] = move
    end
  end
  return names, moves
end
local function write_rows(key, rows, names, moves)
  local text = string.match(rows, '^[^ ]*')
  for _, column in ipairs(names) do text = text .. ' ' .. column .. '=' .. moves[column] end
  local set = redis.pcall('SET', key, text, 'KEEPTTL')
  if set.err then redis.call('DEL', key) end
  return text
end
local function mark(key)
  if kind(key) ~= 'zset' then redis.call('DEL', key) end
  local marked = redis.pcall('ZADD', key, now + task.milliseconds, task.mark)
  if type(marked) == 'table' then return end
  if redis.call('PTTL', key) < task.milliseconds then
    redis.call('PEXPIRE', key, task.milliseconds)
  end
end
local function unmarked(key)
  if kind(key) == 'zset' then redis.call('ZREM', key, task.mark) end
  return kind(key) ~= 'zset'
end
"""

PREPARE = (
    _SHARED
    + """
local function made(key)
  local found = kind(key)
  if found == 'zset' then return false end
  if found == 'string' then
    if redis.call('PTTL', key) < task.milliseconds then
      redis.call('PEXPIRE', key, task.milliseconds)
    end
    return redis.call('GET', key)
  end
  redis.call('SET', key, task.fresh, 'PX', task.milliseconds)
  return task.fresh
end
local tokens, tables, moves = {}, {}, {}
for i = 1, task.names do tokens[i] = made(KEYS[i]) end
local place = task.names
for i, column in ipairs(task.columns) do
  local table_token, rows_key = made(KEYS[place + 1]), KEYS[place + 2]
  local movers = KEYS[place + 3]
  place = place + 3
  tables[i] = table_token
  moves[i] = false
  local rows = made(rows_key)
  if rows then
    local names, known = columns(rows)
    if not known[column] and table_token then
      names[#names + 1] = column
      known[column] = task.fresh
      rows = write_rows(rows_key, rows, names, known)
    end
    if not known[column] then
      rows = false
    elseif kind(movers) == 'none' then
      moves[i] = known[column]
    end
  end
  tokens[task.rows[i]] = rows
end
return {tokens, tables, moves}
"""
)

BEGIN = (
    _SHARED
    + """
local answers = {}
local place = 0
for i, change in ipairs(task.tables) do
  local table_key, rows_key = KEYS[place + 1], KEYS[place + 2]
  local values, movers = place + 2, {}
  place = place + 2 + change.values
  for _, column in ipairs(change.columns) do
    place = place + 1
    movers[column] = KEYS[place]
  end
  local found = kind(rows_key)
  local suffices = found ~= 'zset'
  local names, moves = {}, {}
  local rows = ''
  if found == 'string' then
    rows = redis.call('GET', rows_key)
    names, moves = columns(rows)
  end
  for _, column in ipairs(names) do
    local belief = change.believes[column]
    if belief ~= task.any and (belief ~= moves[column] or kind(movers[column]) ~= 'none') then
      suffices = false
    end
  end
  mark(table_key)
  if suffices then
    for j = 1, change.values do mark(KEYS[values + j]) end
    local moved = false
    for _, column in ipairs(change.moved) do
      if moves[column] then
        mark(movers[column])
        moves[column] = task.fresh
        moved = true
      end
    end
    if moved then write_rows(rows_key, rows, names, moves) end
  else
    mark(rows_key)
  end
  local answer = {suffices and 1 or 0}
  for _, column in ipairs(names) do
    local moving = movers[column] and kind(movers[column]) ~= 'none'
    answer[#answer + 1] = column
    answer[#answer + 1] = moving and '' or moves[column]
  end
  answers[i] = answer
end
return answers
"""
)

END = (
    _SHARED
    + """
local tokens, moves = {}, {}
for i = 1, task.tokens do
  tokens[i] = 0
  if unmarked(KEYS[i]) then
    local set = redis.pcall('SET', KEYS[i], task.fresh, 'PX', task.milliseconds)
    if set.ok then tokens[i] = 1 else redis.call('DEL', KEYS[i]) end
  end
end
local place = task.tokens
for i, names in ipairs(task.unknown) do
  place = place + 1
  tokens[place] = 0
  if unmarked(KEYS[place]) then
    local rows = task.fresh
    for _, column in ipairs(names) do rows = rows .. ' ' .. column .. '=' .. task.fresh end
    local set = redis.pcall('SET', KEYS[place], rows, 'PX', task.milliseconds)
    if set.ok then tokens[place] = 1 else redis.call('DEL', KEYS[place]) end
  end
end
for i, change in ipairs(task.moved) do
  local rows_key, movers = KEYS[place + 1], KEYS[place + 2]
  place = place + 2
  local still = unmarked(movers)
  moves[i] = 0
  if kind(rows_key) == 'string' then
    local rows = redis.call('GET', rows_key)
    local names, known = columns(rows)
    if known[change] then
      known[change] = task.fresh
      write_rows(rows_key, rows, names, known)
      if still then moves[i] = 1 end
    end
  end
end
return {tokens, moves}
"""
)

UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"
