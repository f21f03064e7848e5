package gate

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// response collects an answer. It is used again for the next request.
type response struct {
	header http.Header
	status int
	body   []byte
	names  []string // of the header, in the order of the alphabet
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, b...)
	return len(b), nil
}

func (w *response) reset() {
	clear(w.header)
	w.status, w.body = 0, w.body[:0]
}

// appendTo writes the answer as net/http would, byte for byte.
func (w *response) appendTo(b []byte, isHead, closes bool) []byte {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(w.status)...)
	w.names = w.names[:0]
	for name := range w.header {
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	for _, name := range w.names {
		for _, v := range w.header[name] {
			b = append(b, "\r\n"...)
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, oneLine(v)...)
		}
	}
	b = append(b, "\r\nDate: "...)
	b = append(b, date()...)
	if _, known := w.header["Content-Length"]; !known && (!isHead || len(w.body) > 0) {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(w.body)), 10)
	}
	if closes {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\n\r\n"...)
	if !isHead {
		b = append(b, w.body...)
	}
	return b
}

// oneLine keeps a value from ending its line.
func oneLine(v string) string {
	if strings.IndexByte(v, '\n') < 0 && strings.IndexByte(v, '\r') < 0 {
		return v
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(v)
}

// second is a second, and its text in the Date of an answer.
type second struct {
	unix int64
	text string
}

var lately atomic.Pointer[second]

// date returns the Date of an answer. It is written once a second.
func date() string {
	now := time.Now()
	s := lately.Load()
	if s == nil || s.unix != now.Unix() {
		s = &second{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lately.Store(s)
	}
	return s.text
}
