package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// TestFraming sends requests with a length or form that can be read in two ways. Each
// request gets exactly one answer. The content of a body is never taken for the next
// request, and no credential counts in a wrong place. The port answers as net/http alone.
func TestFraming(t *testing.T) {
	h := newHouse(t)
	token, victim := h.token(), h.token()
	url, plain := h.serve(), h.plain()
	inner := "GET /api/revokeApiToken HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + victim + "\r\n\r\n"
	chunk := func(s string) string { return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n" }
	// In the text, a newline is CRLF, and the byte after a backslash stands alone. TOKEN
	// is a good token; INNER is a request that would revoke the victim, LEN is its
	// length, and PIECE is the same as a chunk.
	fill := strings.NewReplacer("TOKEN", token, "INNER", inner, "LEN", strconv.Itoa(len(inner)), "PIECE", chunk(inner), "HALF1", token[:128], "HALF2", token[128:], "\n", "\r\n", "\\n", "\n", "\\r", "\r", "\\0", "\x00")
	const verify = "GET /api/verify HTTP/1.1\nHost: x\n"
	const revoke = "POST /api/revoke HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\n"
	for _, c := range []struct{ what, raw, want string }{
		{"one token", verify + "X-Auth-Token: TOKEN\n\n", "200"},
		{"a body after a GET", verify + "X-Auth-Token: TOKEN\nContent-Length: LEN\n\nINNER", "200"},
		{"both lengths", revoke + "Content-Length: 5\nTransfer-Encoding: chunked\n\n7\ntoken=x\n0\n\nINNER", "200"},
		{"both lengths, the other order", revoke + "Transfer-Encoding: chunked\nContent-Length: 5\n\n7\ntoken=x\n0\n\nINNER", "200"},
		{"both lengths at the gate", verify + "X-Auth-Token: TOKEN\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\nINNER", "200"},
		{"a chunked body at the gate", verify + "X-Auth-Token: TOKEN\nTransfer-Encoding: chunked\n\nPIECE0\n\n", "200"},
		{"TE xchunked", revoke + "Transfer-Encoding: xchunked\n\n0\n\nINNER", "501"},
		{"TE identity", revoke + "Transfer-Encoding: identity\nContent-Length: LEN\n\nINNER", "501"},
		{"TE chunked, identity", revoke + "Transfer-Encoding: chunked, identity\n\n0\n\nINNER", "501"},
		{"TE identity, chunked", revoke + "Transfer-Encoding: identity, chunked\n\n0\n\nINNER", "501"},
		{"TE chunked, chunked", revoke + "Transfer-Encoding: chunked, chunked\n\n0\n\nINNER", "501"},
		{"TE gzip, chunked", revoke + "Transfer-Encoding: gzip, chunked\n\n0\n\nINNER", "501"},
		{"TE twice", revoke + "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\nINNER", "501"},
		{"TE twice, one unknown", revoke + "Transfer-Encoding: chunked\nTransfer-Encoding: x\n\n0\n\nINNER", "501"},
		{"TE empty", revoke + "Transfer-Encoding:\nContent-Length: LEN\n\nINNER", "501"},
		{"TE quoted", revoke + "Transfer-Encoding: \"chunked\"\n\n0\n\nINNER", "501"},
		{"TE with a parameter", revoke + "Transfer-Encoding: chunked;x=y\n\n0\n\nINNER", "501"},
		{"TE after a tab", revoke + "Transfer-Encoding:\tchunked\n\n7\ntoken=x\n0\n\nINNER", "200"},
		{"TE before a vertical tab", revoke + "Transfer-Encoding: chunked\x0b\n\n0\n\nINNER", "400"},
		{"TE in capitals", revoke + "TRANSFER-ENCODING: CHUNKED\n\n7\ntoken=x\n0\n\nINNER", "200"},
		{"TE with a blank before the colon", revoke + "Transfer-Encoding : chunked\nContent-Length: LEN\n\nINNER", "400"},
		{"TE by an underscore", revoke + "Transfer_Encoding: chunked\nContent-Length: LEN\n\nINNER", "400"},
		{"TE folded", revoke + "Transfer-Encoding:\n chunked\n\n7\ntoken=x\n0\n\nINNER", "200"},
		{"TE in HTTP/1.0", "POST /api/revoke HTTP/1.0\nHost: x\nTransfer-Encoding: chunked\n\n0\n\nINNER", "415"},
		{"a chunk size in another base", revoke + "Transfer-Encoding: chunked\n\n0x5\nabcde\n0\n\nINNER", "400"},
		{"a negative chunk size", revoke + "Transfer-Encoding: chunked\n\n-5\nabcde\n0\n\nINNER", "400"},
		{"an endless chunk size", revoke + "Transfer-Encoding: chunked\n\nfffffffffffffffff\nabcde\n0\n\nINNER", "400"},
		{"a chunk extension", revoke + "Transfer-Encoding: chunked\n\n7;x=\"y\"\ntoken=x\n0\n\n", "200"},
		{"a chunk extension with a bare newline", revoke + "Transfer-Encoding: chunked\n\n5;x\\nabcde\n0\n\nINNER", "400"},
		{"a chunk without its end", revoke + "Transfer-Encoding: chunked\n\n5\nabcdeINNER", "400"},
		{"CL +5", revoke + "Content-Length: +5\n\ntokenINNER", "400"},
		{"CL -1", revoke + "Content-Length: -1\n\nINNER", "400"},
		{"CL 0x5", revoke + "Content-Length: 0x5\n\ntokenINNER", "400"},
		{"CL 5.0", revoke + "Content-Length: 5.0\n\ntokenINNER", "400"},
		{"CL 5, 5", revoke + "Content-Length: 5, 5\n\ntokenINNER", "400"},
		{"CL 5 6", revoke + "Content-Length: 5 6\n\ntokenINNER", "400"},
		{"CL empty", revoke + "Content-Length:\n\nINNER", "400"},
		{"CL in other digits", revoke + "Content-Length: \u0665\n\ntokenINNER", "400"},
		{"CL beyond 64 bits", revoke + "Content-Length: 18446744073709551621\n\ntokenINNER", "400"},
		{"CL twice, different", revoke + "Content-Length: 5\nContent-Length: LEN\n\ntokenINNER", "400"},
		{"CL twice, the same", revoke + "Content-Length: LEN\nContent-Length: LEN\n\nINNER", "400"},
		{"CL with a blank before the colon", revoke + "Content-Length : LEN\n\nINNER", "400"},
		{"CL with a zero byte", revoke + "Content-Length: 5\\0\n\ntokenINNER", "400"},
		{"CL by an underscore", verify + "X-Auth-Token: TOKEN\nContent_Length: 5\n\n", "200"},
		{"a body longer than the length", revoke + "Content-Length: 0\nConnection: close\n\nINNER", "400"},
		{"a body shorter than the length", revoke + "Content-Length: 500\n\ntoken=", "400"},
		{"a blank first line", verify + " X-Auth-Token: TOKEN\n\n", "400"},
		{"a folded token", verify + "X-Auth-Token: HALF1\n HALF2\n\n", "401"},
		{"a token in a fold", verify + "X-Other: a\n X-Auth-Token: TOKEN\n\n", "401"},
		{"a token after a bare CR", verify + "X-Other: a\\rX-Auth-Token: TOKEN\n\n", "400"},
		{"a token after a bare newline", verify + "X-Other: a\\nX-Auth-Token: TOKEN\n\n", "200"},
		{"a zero byte in a name", verify + "X-Auth\\0-Token: TOKEN\n\n", "400"},
		{"a zero byte in a value", verify + "X-Auth-Token: TOKEN\\0\n\n", "400"},
		{"a token without a name", verify + ": TOKEN\n\n", "400"},
		{"a line without a colon", verify + "X-Auth-Token TOKEN\n\n", "400"},
		{"a token by an underscore", verify + "X_Auth_Token: TOKEN\n\n", "401"},
		{"a blank before the colon", verify + "X-Auth-Token : TOKEN\n\n", "400"},
		{"two tokens", verify + "X-Auth-Token: TOKEN\nX-Auth-Token: TOKEN\n\n", "401"},
		{"two tokens in other case", verify + "X-Auth-Token: TOKEN\nx-auth-token: TOKEN\n\n", "401"},
		{"two tokens in one line", verify + "X-Auth-Token: TOKEN, TOKEN\n\n", "401"},
		{"a token and an empty one", verify + "X-Auth-Token: TOKEN\nX-Auth-Token:\n\n", "401"},
		{"a token and a bearer", verify + "X-Auth-Token: TOKEN\nAuthorization: Bearer TOKEN\n\n", "401"},
		{"two bearers", verify + "Authorization: Bearer TOKEN\nAuthorization: Bearer TOKEN\n\n", "401"},
		{"a token in a trailer", "GET /api/verify HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTrailer: X-Auth-Token\n\n0\nX-Auth-Token: TOKEN\n\n", "401"},
		{"a token in a trailer that is not announced", "GET /api/token HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n0\nX-Auth-Token: TOKEN\n\n", "401"},
		{"a length in a trailer", revoke + "Transfer-Encoding: chunked\nTrailer: Content-Length\n\n0\nContent-Length: LEN\n\nINNER", "400"},
		{"an encoding in a trailer", revoke + "Transfer-Encoding: chunked\n\n7\ntoken=x\n0\nTransfer-Encoding: chunked\n\nINNER", "200"},
		{"no Host", "GET /api/verify HTTP/1.1\nX-Auth-Token: TOKEN\n\n", "400"},
		{"two Hosts", verify + "Host: y\nX-Auth-Token: TOKEN\n\n", "400"},
		{"a Host with a blank", "GET /api/verify HTTP/1.1\nHost: x y\nX-Auth-Token: TOKEN\n\n", "400"},
		{"a Host with a path", "GET /api/verify HTTP/1.1\nHost: x/y\nX-Auth-Token: TOKEN\n\n", "400"},
		{"the absolute form", "GET http://x/api/verify HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "200"},
		{"the absolute form, of another host", "GET http://other.example/api/verify HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "200"},
		{"the absolute form, with a user", "GET http://u:TOKEN@x/api/verify HTTP/1.1\nHost: x\n\n", "401"},
		{"the absolute form, another scheme", "GET gopher://x/api/verify HTTP/1.1\nHost: x\n\n", "401"},
		{"the authority form", "CONNECT x:443 HTTP/1.1\nHost: x\n\n", "404"},
		{"the asterisk form", "OPTIONS * HTTP/1.1\nHost: x\n\n", "200"},
		{"an asterisk for another method", "GET * HTTP/1.1\nHost: x\n\n", "404"},
		{"a relative path", "GET api/verify HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "400"},
		{"no path", "GET  HTTP/1.1\nHost: x\n\n", "400"},
		{"a fragment", "GET /api/verify#x HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "404"},
		{"two slashes", "GET //api/verify HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "404"},
		{"a blank in the path", "GET /api/verify x HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "400"},
		{"HTTP/0.9", "GET /api/verify\n\n", "400"},
		{"HTTP/1.0", "GET /api/verify HTTP/1.0\nX-Auth-Token: TOKEN\n\n", "200"},
		{"HTTP/1.2", "GET /api/verify HTTP/1.2\nHost: x\nX-Auth-Token: TOKEN\n\n", "200"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\n\nSM\n\n", "404"},
		{"an upgrade to HTTP/2", verify + "X-Auth-Token: TOKEN\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAAP__\n\n", "200"},
		{"an upgrade to a websocket, and a request", verify + "Connection: Upgrade\nUpgrade: websocket\nContent-Length: LEN\n\nINNER", "401"},
		{"an odd method", "VERIFY /api/token HTTP/1.1\nHost: x\nX-Auth-Token: TOKEN\n\n", "405"},
		{"an unknown expectation", revoke + "Expect: x\nContent-Length: LEN\n\nINNER", "417"},
		{"a method override", verify + "X-HTTP-Method-Override: DELETE\nX-Auth-Token: TOKEN\n\n", "200"},
		{"another path by a header", "GET /healthz HTTP/1.1\nHost: x\nX-Original-URL: /api/revokeApiToken\nX-Rewrite-URL: /api/revokeApiToken\n\n", "200"},
		{"three at once", verify + "X-Auth-Token: TOKEN\n\n" + verify + "\n" + verify + "X-Auth-Token: TOKEN\n\n", "200 401 200"},
		{"one after an error", verify + "X-Auth-Token : x\n\n" + verify + "X-Auth-Token: TOKEN\n\n", "400"},
		{"one after a body that is not read", verify + "X-Auth-Token: TOKEN\nContent-Length: 5\n\nabcde" + verify + "\n", "200 401"},
		{"one after Connection: close", verify + "X-Auth-Token: TOKEN\nConnection: close\n\nINNER", "200"},
	} {
		raw := []string{fill.Replace(c.raw)}
		got := talk(t, url, raw, inOne)
		if list := statuses(got); list != c.want {
			t.Errorf("%s: got %s, want %s", c.what, list, c.want)
		}
		if got, want := timeless(got), timeless(talk(t, plain, raw, inOne)); got != want {
			t.Errorf("%s: got\n%s\nand from net/http\n%s", c.what, got, want)
		}
		if h.ask("GET", "/api/token").token(victim).send().code != http.StatusOK {
			t.Errorf("%s: what stands in the body was taken for a request", c.what)
			break
		}
	}
}

// statuses returns those of the answers in a text.
func statuses(text string) string {
	var list []string
	r := bufio.NewReader(strings.NewReader(text))
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		io.Copy(io.Discard, resp.Body)
		list = append(list, strconv.Itoa(resp.StatusCode))
	}
	return strings.Join(list, " ")
}

// TestLongBody sends bodies that nobody wants. A client that reads nothing before it has
// sent everything still gets the answer. One that asks first whether it may send a body
// that is too long is told no.
func TestLongBody(t *testing.T) {
	url := newHouse(t).serve()
	head := func(line, more string) string {
		return line + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5242880\r\n" + more + "\r\n"
	}
	body := strings.Repeat("x", 5<<20)
	for line, want := range map[string]int{
		"POST /api/authenticate/userpass": http.StatusRequestEntityTooLarge,
		"POST /api/token":                 http.StatusUnauthorized,
		"POST /api/verify":                http.StatusUnauthorized,
		"POST /nothing":                   http.StatusNotFound,
		"PUT /healthz":                    http.StatusMethodNotAllowed,
		"POST /scim/v2/Users":             http.StatusUnauthorized,
	} {
		for _, connection := range []string{"close", "keep-alive"} {
			c := must.Get(net.Dial("tcp", strings.TrimPrefix(url, "http://")))(t)
			defer c.Close()
			if _, err := io.WriteString(c, head(line, "Connection: "+connection+"\r\n")+body); err != nil {
				t.Errorf("%s, %s: %v", line, connection, err)
				continue
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != want {
				t.Errorf("%s, %s: got %v, %v, want %d", line, connection, resp, err, want)
			}
		}
	}
	c := must.Get(net.Dial("tcp", strings.TrimPrefix(url, "http://")))(t)
	defer c.Close()
	chunks := "POST /api/authenticate/userpass HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n500000\r\n" + body + "\r\n0\r\n\r\n"
	if _, err := io.WriteString(c, chunks); err != nil {
		t.Errorf("chunks: %v", err)
	}
	answers := bufio.NewReader(c)
	resp, err := http.ReadResponse(answers, nil)
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(answers, nil)
	}
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("chunks of a client that was told to continue: got %v, %v, want 413", resp, err)
	}
	asks := talk(t, url, []string{head("POST /api/authenticate/userpass", "Expect: 100-continue\r\n")}, inTurn)
	if got := statuses(asks); got != "413" {
		t.Errorf("to a client that asks first: got %s, want 413", got)
	}
}
