package gate_test

import (
	"strconv"
	"strings"
	"testing"
)

const ask0 = "GET /api/verify HTTP/1.1\nHost: x\n"

// cases are requests that can be read in more than one way, and some that can't. In the
// text, a newline is CRLF, and the byte after a backslash stands alone.
var cases = []struct{ what, raw, want string }{
	{"nothing", "", ""},
	{"nginx", "HEAD /api/verify HTTP/1.1\nX-Forwarded-For: 192.0.2.1\nHost: gatehouse\nuser-agent: curl/8\nX-Auth-Token: abc\naccept: */*\n\n", "200"},
	{"nginx as it comes", "GET /api/verify?scope=admin HTTP/1.0\nHost: gatehouse\nConnection: close\nX-Auth-Token: abc\n\n", "401"},
	{"HAProxy", "GET /api/verify HTTP/1.1\nx-auth-token: abc\nx-forwarded-for: 192.0.2.1\nuser-agent: curl/8\nhost: 127.0.0.1:8081\n\n", "200"},
	{"Caddy", "GET /api/verify? HTTP/1.1\nHost: app.example.com\nUser-Agent: curl/8\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Method: POST\nAccept-Encoding: gzip\n\n", "403"},
	{"three at once", ask0 + "\n" + ask0 + "X-Auth-Token: a\n\n" + ask0 + "X-Auth-Token: a\nUser-Agent: b\n\n", "200 401 403"},
	{"a body", ask0 + "Content-Length: 5\n\nabcde" + ask0 + "\n", "200 200"},
	{"a body that is a request", ask0 + "Content-Length: 37\n\n" + ask0 + "\n" + ask0 + "X-Auth-Token: a\n\n", "200 401"},
	{"half a body", ask0 + "Content-Length: 5\n\nabc", "200"},
	{"chunks", ask0 + "Transfer-Encoding: chunked\n\n0\n\n" + ask0 + "\n", "200"},
	{"chunks in capitals", ask0 + "TRANSFER-ENCODING: Chunked\n\n0\n\n", "200"},
	{"a long body", ask0 + "Content-Length: 300000\n\n" + strings.Repeat("x", 1000), "200"},
	{"both lengths", ask0 + "Content-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n" + ask0 + "\n", "400"},
	{"length twice", ask0 + "Content-Length: 5\nContent-Length: 5\n\nabcde", "400"},
	{"length +5", ask0 + "Content-Length: +5\n\nabcde", "400"},
	{"length -1", ask0 + "Content-Length: -1\n\n", "400"},
	{"no length", ask0 + "Content-Length:\n\n", "400"},
	{"length 5, 5", ask0 + "Content-Length: 5, 5\n\nabcde", "400"},
	{"a length beyond 64 bits", ask0 + "Content-Length: 18446744073709551621\n\n", "400"},
	{"identity", ask0 + "Transfer-Encoding: identity\n\n", "400"},
	{"gzip, chunked", ask0 + "Transfer-Encoding: gzip, chunked\n\n0\n\n", "400"},
	{"chunked twice", ask0 + "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n", "400"},
	{"chunks in HTTP/1.0", "GET /api/verify HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n", "400"},
	{"an encoding before a vertical tab", ask0 + "Transfer-Encoding: chunked\x0b\n\n0\n\n", "400"},
	{"expects", ask0 + "Expect: 100-continue\nContent-Length: 5\n\nabcde", "200"},
	{"expects something else", ask0 + "Expect: x\n\n", "400"},
	{"a fold", ask0 + "X-Auth-Token: a\n b\n\n", "400"},
	{"a fold first", "GET /api/verify HTTP/1.1\n Host: x\n\n", "400"},
	{"a bare CR", ask0 + "X: a\\rX-Auth-Token: b\n\n", "400"},
	{"a bare LF", ask0 + "X: a\\nX-Auth-Token: b\n\n", "400"},
	{"nothing but LF", strings.ReplaceAll(ask0+"\n", "\n", "\\n"), "400"},
	{"a zero byte in a value", ask0 + "X-Auth-Token: a\x00\n\n", "400"},
	{"a zero byte in a name", ask0 + "X-Auth\x00-Token: a\n\n", "400"},
	{"a blank before the colon", ask0 + "X-Auth-Token : a\n\n", "400"},
	{"no colon", ask0 + "X-Auth-Token a\n\n", "400"},
	{"no name", ask0 + ": a\n\n", "400"},
	{"an underscore", ask0 + "X_Auth_Token: a\n\n", "200"},
	{"blanks and tabs around a value", ask0 + "X-Auth-Token: \t a b \t\n\n", "401"},
	{"bytes beyond ASCII", ask0 + "X-Auth-Token: \xff\xfe\n\n", "401"},
	{"two tokens", ask0 + "X-Auth-Token: a\nx-AUTH-token: b\n\n", "401"},
	{"all that is read", ask0 + "X-Auth-Token: a\nAuthorization: Basic b\nUser-Agent: c\nX-Forwarded-For: d, e\nX-Forwarded-For: f\nX-Request-Id: g\n\n", "200"},
	{"no Host", "GET /api/verify HTTP/1.1\n\n", "400"},
	{"no Host in HTTP/1.0", "GET /api/verify HTTP/1.0\n\n", "200"},
	{"two Hosts", ask0 + "Host: x\n\n", "400"},
	{"a Host with a path", "GET /api/verify HTTP/1.1\nHost: x/y\n\n", "400"},
	{"an empty Host", "GET /api/verify HTTP/1.1\nHost:\n\n", "200"},
	{"HTTP/1.2", "GET /api/verify HTTP/1.2\nHost: x\n\n", "400"},
	{"HTTP/0.9", "GET /api/verify\n\n", "400"},
	{"HTTP/2", "PRI * HTTP/2.0\n\nSM\n\n", "400"},
	{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\n\n", "400"},
	{"an empty line first", "\n" + ask0 + "\n", "400"},
	{"the absolute form", "GET http://x/api/verify HTTP/1.1\nHost: x\n\n", "400"},
	{"the authority form", "CONNECT x:443 HTTP/1.1\nHost: x\n\n", "400"},
	{"the asterisk form", "OPTIONS * HTTP/1.1\nHost: x\n\n", "400"},
	{"percent", "GET /api/%76erify HTTP/1.1\nHost: x\n\n", "400"},
	{"a fragment", "GET /api/verify#x HTTP/1.1\nHost: x\n\n", "400"},
	{"a fragment in the query", "GET /api/verify?x#x HTTP/1.1\nHost: x\n\n", "200"},
	{"another path", "GET //healthz/../x HTTP/1.1\nHost: x\n\n", "200"},
	{"a blank in the path", "GET /api/verify x HTTP/1.1\nHost: x\n\n", "400"},
	{"two blanks", "GET  /api/verify HTTP/1.1\nHost: x\n\n", "400"},
	{"an odd query", "GET /api/verify?scope=%zz;a&&=?/ HTTP/1.1\nHost: x\n\n", "200"},
	{"an odd method", "x!y /api/verify HTTP/1.1\nHost: x\n\n", "200"},
	{"close", ask0 + "Connection: keep-alive , CLOSE\n\n" + ask0 + "\n", "200"},
	{"close after a blank", ask0 + "Connection: keep-alive close\n\n" + ask0 + "\n", "200"},
	{"close after a blank, in a second field", ask0 + "Connection: a\nConnection: b close\n\n" + ask0 + "\n", "200 200"},
	{"close after an empty field", ask0 + "Connection:\nConnection: b , Close\n\n" + ask0 + "\n", "200"},
	{"keep-alive", ask0 + "Connection: keep-alive\n\n" + ask0 + "\n", "200 200"},
	{"keep-alive in HTTP/1.0", "GET /api/verify HTTP/1.0\nConnection: keep-alive\n\n" + ask0 + "\n", "200"},
	{"an upgrade", ask0 + "Connection: Upgrade\nUpgrade: websocket\n\n" + ask0 + "\n", "200 200"},
	{"the end within a header", ask0 + "X-Auth-Token: a", "400"},
	{"a method of 3 KiB", strings.Repeat("A", 3<<10) + " /api/verify HTTP/1.1\nHost: x\n\n", "200"},
	{"a header of 60 KiB", ask0 + "X: " + strings.Repeat("x", 60<<10) + "\n\n", "200"},
	{"a header of 65 KiB", ask0 + "X: " + strings.Repeat("x", 65<<10) + "\n\n", "400"},
	{"many fields", ask0 + strings.Repeat("X: y\n", 5000) + "\n", "200"},
	{"a stray line", ask0 + "\n\n", "200"},
	{"a stray word", ask0 + "\nstray", "200 400"},
	{"one after a refusal", ask0 + "X : y\n\n" + ask0 + "\n", "400"},
}

// TestRequests: what the gate answers, and that net/http answers the same, unless the
// gate refuses. A gate that passes connections passes what it would refuse, and others.
func TestRequests(t *testing.T) {
	p := newPair(t)
	for _, c := range cases {
		var got []string
		for _, a := range p.compare(t, wire(c.raw)) {
			got = append(got, strconv.Itoa(a.status))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %q, want %q", c.what, s, c.want)
		}
		if rest := p.pass(t, wire(c.raw)); strings.Contains(c.want, "400") && rest == 0 {
			t.Errorf("%s: net/http is given nothing", c.what)
		}
	}
}

// wire returns the bytes to send for the text of a case.
func wire(text string) []byte {
	return []byte(strings.NewReplacer("\n", "\r\n", "\\n", "\n", "\\r", "\r").Replace(text))
}
