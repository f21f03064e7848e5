// Package access gives each request an id, and writes the access log: one record for each
// request, when it is over.
//
//	Handler   the id: the client's own, or a new one; it is returned
//	          with the log on: a Record, which travels in the request's context
//	Of        the handlers that know the route and the caller fill them in
//	Handler   the reply has ended: the record is written
//
// A record never contains a secret: it has the route instead of the path, and a token's
// id instead of the token. The package never decides anything about a request.
package access

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"gatehouse/server/ipaddr"
)

// Log is the access log.
type Log struct {
	Log    *slog.Logger
	On     func() bool                      // whether requests are recorded
	Client func(r *http.Request) netip.Addr // where a request comes from
}

// Record is what is found out about a request while it is answered.
type Record struct {
	Route string // the pattern; empty: no route serves the request
	UID   string // empty: no usable credential was asked for, or sent
	Token string // the token's id
}

// header is the name of the header with the id, in its canonical form.
const header = "X-Request-Id"

// key is the context key of a request's Record.
type key struct{}

// Of returns the record of a request. It is nil if the request is not recorded.
func Of(r *http.Request) *Record {
	record, _ := r.Context().Value(key{}).(*Record)
	return record
}

// ID returns the id of the request that a reply answers.
func ID(w http.ResponseWriter) string {
	if v := w.Header()[header]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// Handler gives each request an id, and records it if the log is on.
func (l *Log) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[header] = idOf(r)
		if !l.On() {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		record := new(Record)
		counted := &Counter{ResponseWriter: w}
		defer func() { l.write(r, record, counted, time.Since(start)) }() // also when the reply is cut off
		next.ServeHTTP(counted, r.WithContext(context.WithValue(r.Context(), key{}, record)))
	})
}

// write writes a record. The level of the log does not matter: a setting of its own
// turns records on.
func (l *Log) write(r *http.Request, record *Record, reply *Counter, took time.Duration) {
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	line.AddAttrs(
		slog.String("method", r.Method[:min(len(r.Method), longestMethod)]),
		slog.String("route", cmp.Or(record.Route, "none")),
		slog.Int("status", cmp.Or(reply.Status, http.StatusOK)),
		slog.Int64("duration_us", took.Microseconds()),
		slog.Int64("bytes", reply.Bytes),
		slog.String("address", ipaddr.Text(l.Client(r))),
		slog.String("uid", record.UID),
		slog.String("token_id", record.Token),
		slog.String("request_id", ID(reply)),
	)
	l.Log.Handler().Handle(r.Context(), line)
}

// longestMethod is how much is kept of a method, which a client may make up.
const longestMethod = 32

// idOf returns the id that a request brings, or a new one, as a header's values.
func idOf(r *http.Request) []string {
	if v := r.Header[header]; len(v) == 1 && valid(v[0]) {
		return v[:1:1]
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64()) // an id is not secret; crypto/rand takes 0.2 µs more, and asks older kernels each time
	return []string{hex.EncodeToString(b[:])}
}

// longestID is the longest id that is kept.
const longestID = 64

// valid reports whether an id may be kept and returned. Other text could be mistaken for
// something else in a log.
func valid(id string) bool {
	if id == "" || len(id) > longestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Counter counts what is written of a reply.
type Counter struct {
	http.ResponseWriter
	Status int // 0: nothing was written
	Bytes  int64
}

// WriteHeader keeps the first status that is not an interim one.
func (c *Counter) WriteHeader(status int) {
	if c.Status == 0 && status >= 200 {
		c.Status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *Counter) Write(b []byte) (int, error) {
	if c.Status == 0 {
		c.Status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(b)
	c.Bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *Counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
