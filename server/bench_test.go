package server_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/server"
	"gatehouse/server/listen"
	"gatehouse/storage/storagetest/must"
)

// deaf is a http.ResponseWriter that keeps only the status, so that a
// benchmark counts what the handler allocates and nothing else.
type deaf struct {
	header http.Header
	status int
}

func (d *deaf) Header() http.Header         { return d.header }
func (d *deaf) WriteHeader(status int)      { d.status = status }
func (d *deaf) Write(b []byte) (int, error) { return len(b), nil }

func (d *deaf) WriteString(s string) (int, error) { return len(s), nil } // as net/http has it

// gateCases are what the gate is asked, and how it has to answer.
func gateCases(h *house) []gateCase {
	h.Helper()
	token, scoped := h.token(), h.create(`{"scopes":["files","repo:read"]}`).Secret
	return []gateCase{
		{"live", "", "X-Auth-Token", token, http.StatusOK},
		{"live/bearer", "", "Authorization", "Bearer " + token, http.StatusOK},
		{"live/basic", "", "Authorization", basic("git", token), http.StatusOK},
		{"scopes", "?scope=files", "X-Auth-Token", scoped, http.StatusOK},
		{"scopes/lacking", "?scope=admin", "X-Auth-Token", scoped, http.StatusForbidden},
		{"forged", "", "X-Auth-Token", forge(h.TB, token), http.StatusUnauthorized},
		{"mistyped", "", "X-Auth-Token", flip(token, 128), http.StatusUnauthorized},
	}
}

type gateCase struct {
	name, query, header, value string
	status                     int
}

// BenchmarkVerify asks the gate within the process: all of the server except net/http.
func BenchmarkVerify(b *testing.B) {
	h := newHouse(b)
	for _, c := range gateCases(h) {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", verifyPath+c.query, nil)
			r.Header.Set(c.header, c.value)
			w := &deaf{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.web.ServeHTTP(w, r)
			}
			if w.status != c.status {
				b.Errorf("got %d, want %d", w.status, c.status)
			}
		})
	}
}

// BenchmarkVerifyHTTP asks the gate over one connection, and for comparison a handler
// that only sends the same headers. The figures are of client and server together;
// server/gatebench tells them apart.
func BenchmarkVerifyHTTP(b *testing.B) {
	h := newHouse(b)
	gate := strings.TrimPrefix(h.serve(), "http://")
	for _, c := range gateCases(h) {
		b.Run("gate/"+c.name, func(b *testing.B) {
			askAgain(b, gate, c)
		})
	}
	b.Run("empty", func(b *testing.B) {
		c := gateCases(h)[0]
		askAgain(b, serveNothing(b), c)
	})
}

// serveNothing serves the headers of a 200 of the gate.
func serveNothing(b *testing.B) (address string) {
	b.Helper()
	user, userID, id := []string{alice}, []string{strings.Repeat("0", 16)}, []string{strings.Repeat("0", 28)}
	scopes, store := []string{server.EveryScope}, []string{"no-store"}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["X-Auth-User"], h["X-Auth-User-Id"], h["X-Auth-Token-Id"], h["X-Auth-Scopes"], h["Cache-Control"] = user, userID, id, scopes, store
		w.WriteHeader(http.StatusOK)
	}))
	web.Config = listen.HTTP(web.Config.Handler, slog.New(slog.DiscardHandler))
	web.Start()
	b.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// askAgain sends one request over and over, and parses only the first answer: a client
// that parsed all of them would cost more than the server.
func askAgain(b *testing.B, address string, c gateCase) {
	conn := must.Get(net.Dial("tcp", address))(b)
	defer conn.Close()
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\n\r\n", verifyPath+c.query, c.header, c.value)
	from := &counted{r: conn}
	must.Get(conn.Write(request))(b)
	resp := must.Get(http.ReadResponse(bufio.NewReader(from), nil))(b)
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != c.status {
		b.Fatalf("got %d, want %d", resp.StatusCode, c.status)
	}
	answer := make([]byte, from.n)
	b.ReportAllocs()
	for b.Loop() {
		must.Get(conn.Write(request))(b)
		must.Get(io.ReadFull(conn, answer))(b)
	}
	if status := fmt.Sprintf("HTTP/1.1 %d ", c.status); !strings.HasPrefix(string(answer), status) {
		b.Errorf("got %.20q, want %s", answer, status)
	}
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// forge changes the keyed part of a token and makes its CRC right again, so
// that only the key tells.
func forge(t testing.TB, token string) string {
	t.Helper()
	b := must.Get(hex.DecodeString(token))(t)
	end := len(b) - crc32.Size
	b[end/2] ^= 1
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
	return hex.EncodeToString(b)
}
