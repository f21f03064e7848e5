package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// plain serves the TCP port with net/http alone.
func (h *house) plain() (url string) {
	h.Helper()
	l := must.Get(h.Connections().TCP("127.0.0.1:0"))(h)
	web := h.Connections().HTTP(h.Handler())
	go web.Serve(l)
	h.Cleanup(func() { web.Close() })
	return "http://" + l.Addr().String()
}

// The ways to send requests on a connection.
const (
	inOne = iota // in one packet
	byBytes
	inTurn // each after the answer to the one before
	ways
)

// talk sends requests on one connection, and returns what comes back.
func talk(t *testing.T, url string, requests []string, way int) string {
	t.Helper()
	c := must.Get(net.Dial("tcp", strings.TrimPrefix(url, "http://")))(t)
	defer c.Close()
	var got strings.Builder
	r := bufio.NewReader(io.TeeReader(c, &got))
	switch way {
	case inOne:
		io.WriteString(c, strings.Join(requests, "")) // it may be answered before it is read
	case byBytes:
		for _, b := range []byte(strings.Join(requests, "")) {
			c.Write([]byte{b})
		}
	case inTurn:
		for _, one := range requests {
			io.WriteString(c, one)
			if !strings.Contains(one, "\r\n\r\n") {
				break // nobody answers half a request
			}
			method, _, _ := strings.Cut(one, " ")
			resp, err := http.ReadResponse(r, &http.Request{Method: method})
			if err != nil {
				break // the answer before was the last
			}
			io.Copy(io.Discard, resp.Body)
		}
	}
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, r)
	return got.String()
}

var (
	dates  = regexp.MustCompile(`\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n`)
	newIDs = regexp.MustCompile(`((?m:^)X-Request-Id: |request_id=)[0-9a-f]{16}\b`)
	times  = regexp.MustCompile(`(\btime|duration_us)=\S+`)
)

// timeless leaves out what differs each time.
func timeless(text string) string {
	text = dates.ReplaceAllString(text, "\r\nDate: X\r\n")
	return times.ReplaceAllString(newIDs.ReplaceAllString(text, "${1}X"), "$1=X")
}

// TestPort: nobody can tell which requests of a connection net/http answers and which the
// gate's own loop: not from the answers, to the byte, nor from the access log or the counts.
func TestPort(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Log.Access, c.TrustedProxies = "on", prefixes("127.0.0.1/32")
	})
	live, scoped, revoked := h.create(`{}`), h.create(`{"scopes":["build"]}`), h.create(`{}`)
	near := h.create(`{"addresses":["198.51.100.0/24"]}`)
	h.ask("GET", "/api/revokeApiToken").token(revoked.Secret).send().want(http.StatusOK)
	port, plain := h.serve(), h.plain()

	const host = " HTTP/1.1\r\nHost: x\r\n"
	ask := func(header ...string) string {
		return "GET /api/verify" + host + strings.Join(append(header, "\r\n"), "\r\n")
	}
	to := func(line string, header ...string) string {
		return line + host + strings.Join(append(header, "\r\n"), "\r\n")
	}
	token := func(secret string) string { return "X-Auth-Token: " + secret }
	let, health := ask(token(live.Secret)), to("GET /healthz")
	const revoke, form = "POST /api/revoke", "Content-Type: application/x-www-form-urlencoded"
	for _, c := range []struct {
		what     string
		requests []string
	}{
		{"live", []string{let}},
		{"four ways to send a token", []string{let, ask("authorization: bearer " + live.Secret), ask("Authorization: " + basic("git", live.Secret)), ask(token(live.Secret), "Authorization: Bearer x")}},
		{"refused", []string{ask(), ask(token(revoked.Secret)), ask(token(flip(live.Secret, 200))), ask(token("x")), ask(token(live.Secret), token(live.Secret)), ask(token(""))}},
		{"scopes", []string{to("GET /api/verify?scope=build", token(scoped.Secret)), to("GET /api/verify?scope=admin", token(scoped.Secret)), to("GET /api/verify?scope=%zz", token(scoped.Secret)), to("HEAD /api/verify?scope=admin", token(scoped.Secret))}},
		{"addresses", []string{ask(token(near.Secret), "X-Forwarded-For: 198.51.100.7"), ask(token(near.Secret), "X-Forwarded-For: 203.0.113.1"), ask(token(near.Secret))}},
		{"ids", []string{ask("X-Request-Id: mine.1"), ask("X-Request-Id: a b"), ask("X-Request-Id: a", "X-Request-Id: b")}},
		{"HEAD", []string{to("HEAD /api/verify", token(live.Secret)), to("HEAD /api/verify"), let}},
		{"other methods", []string{to("POST /api/verify", token(live.Secret)), to("PROPFIND /api/verify"), to("OPTIONS /api/verify", token(live.Secret)), to("CONNECT /api/verify", token(live.Secret))}},
		{"no questions", []string{health, to("GET /nothing"), to("PUT /healthz"), to("GET /api/token", token(live.Secret))}},
		{"questions and others", []string{let, health, let, ask(), to(revoke, form, "Content-Length: 7") + "token=x", let}},
		{"other spellings", []string{let, to("GET /api/%76erify", token(live.Secret)), to("GET http://x/api/verify", token(live.Secret)), to("GET /api/verify/", token(live.Secret)), let}},
		{"bodies", []string{let, ask(token(live.Secret), "Content-Length: 0"), ask(token(live.Secret), "Content-Length: 5") + "abcde", ask(token(live.Secret), "Transfer-Encoding: chunked") + "0\r\n\r\n", let}},
		{"a large header", []string{let, ask(token(live.Secret), "Cookie: "+strings.Repeat("x", 12<<10)), let}},
		{"close", []string{let, ask(token(live.Secret), "Connection: close"), let}},
		{"close, refused", []string{ask("Connection: close")}},
		{"HTTP/1.0", []string{let, "GET /api/verify HTTP/1.0\r\n" + token(live.Secret) + "\r\n\r\n"}},
		{"HTTP/1.0 that stays", []string{"GET /api/verify HTTP/1.0\r\nConnection: keep-alive\r\n" + token(live.Secret) + "\r\n\r\n", let}},
		{"half a request", []string{let, "GET /api/verify HTTP/1.1\r\nHo"}},
		{"a stray line", []string{let, "\r\n"}},
		{"an upgrade", []string{ask(token(live.Secret), "Connection: Upgrade", "Upgrade: websocket"), let}},
	} {
		for way := range ways {
			var said [2]string
			for n, url := range []string{port, plain} {
				logged, uses := len(h.log.String()), adminToken(h, live.ID).Uses
				said[n] = timeless(talk(t, url, c.requests, way))
				said[n] += timeless(h.log.String()[logged:])
				said[n] += "uses " + strings.Repeat("I", int(adminToken(h, live.ID).Uses-uses))
			}
			if said[0] != said[1] {
				t.Errorf("%s, sent in way %d: got\n%s\nand from net/http\n%s", c.what, way, said[0], said[1])
			}
			if !strings.HasPrefix(said[0], "HTTP/1.") || !strings.Contains(said[0], "msg=request") {
				t.Errorf("%s, sent in way %d: got %s", c.what, way, said[0])
			}
		}
	}
	// What is expected may be told or not, as net/http decides. A body follows in any case.
	for _, url := range []string{port, plain} {
		got := talk(t, url, []string{ask(token(live.Secret), "Expect: 100-continue", "Content-Length: 5") + "abcde"}, inOne)
		if !strings.Contains(got, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("100-continue: got %s", got)
		}
	}
}
