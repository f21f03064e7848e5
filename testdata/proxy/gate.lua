-- The gate: asks Gatehouse about a request, for
--     http-request lua.gate URL
-- On 200 it puts the identity in place of what the client sent, takes the
-- token away and sets txn.gate; 401 and 403 it passes on. In every other case
-- it does nothing, and HAProxy goes on to its next rule, which must refuse.

local ask, identity = {}, {"x-auth-user", "x-auth-user-id", "x-auth-token-id", "x-auth-scopes"}
for _, name in ipairs({"x-auth-token", "authorization", "user-agent"}) do ask[name] = true end

-- What the client may not tell the application. CGI and its like read
-- X_Auth_User as X-Auth-User: all are compared with - for what is no letter.
local private = {["x-auth-token"] = true, ["authorization"] = true}
for _, name in ipairs(identity) do private[name] = true end
local function is_private(name)
    return private[(name:lower():gsub("%W", "-"))]
end

local function refuse(txn, answer)
    local reply = txn:reply{status = answer.status, body = answer.body}
    for _, name in ipairs({"www-authenticate", "content-type"}) do
        local values = answer.headers[name]
        local i = 0
        while values and values[i] do
            reply:add_header(name, values[i])
            i = i + 1
        end
    end
    txn:done(reply)
end

local function let_in(txn, sent, answer)
    for _, name in ipairs(identity) do
        local values = answer.headers[name]
        if not values or not values[0] or values[1] then return end
    end
    for name in pairs(sent) do
        if is_private(name) then txn.http:req_del_header(name) end
    end
    -- With "Connection: X-Auth-User", a proxy further on would take it away.
    for _, value in pairs(sent["connection"] or {}) do
        for option in value:gmatch("[^%s,]+") do
            if is_private(option) then txn.http:req_del_header("connection") end
        end
    end
    for _, name in ipairs(identity) do
        txn.http:req_set_header(name, answer.headers[name][0])
    end
    txn:set_var("txn.gate", true)
end

core.register_action("gate", {"http-req"}, function(txn, url)
    local sent, question = txn.http:req_get_headers(), {}
    for name, values in pairs(sent) do
        if ask[name] then question[name] = values end
    end
    question["x-forwarded-for"] = {txn.f:src()} -- for tokens with addresses; not what the client says
    -- HAProxy tries four times: tune.lua.session-timeout must be longer.
    local answer = core.httpclient():get{url = url, headers = question, timeout = 2000}
    if answer.status == 200 then
        let_in(txn, sent, answer)
    elseif answer.status == 401 or answer.status == 403 then
        refuse(txn, answer)
    end
end, 1)
