-- wrk's script: random ones of the header lines in a file, each in a request that is
-- there before the clock runs. Arguments: the file, a seed, and the Host to send.
local requests = {}

function init(args)
  for header in io.lines(args[1]) do
    requests[#requests + 1] = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. args[3] .. "\r\n" .. header .. "\r\n\r\n"
  end
  math.randomseed(tonumber(args[2]))
end

local random = math.random

function request()
  return requests[random(#requests)]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("gatebench: %d %d %d %d %d\n", summary.requests, summary.duration, e.status,
    e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
