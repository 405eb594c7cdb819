-- Take names back. No new job can use what they meant; open ones go on with it.
-- ARGV: names...
-- Returns how many of them there were.
local now, count = now_ms(), 0
for _, name in ipairs(ARGV) do count = count + unregister(name, now) end
return tostring(count)
