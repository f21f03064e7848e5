package access_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gatehouse/server/access"
	"gatehouse/storage/storagetest/must"
)

// lines is a log that passes on what is written, line by line.
type lines chan string

func (l lines) Write(b []byte) (int, error) { l <- string(b); return len(b), nil }

// serve serves a handler behind an access log.
func serve(t *testing.T, on func() bool, h http.HandlerFunc) (url string, log lines) {
	t.Helper()
	log = make(lines, 100)
	l := &access.Log{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError})), On: on,
		Client: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
	}
	s := httptest.NewServer(l.Handler(h))
	t.Cleanup(s.Close)
	return s.URL, log
}

func always() bool { return true }

// TestIDs: a client's own id is kept if it can't be mistaken for anything else. Otherwise
// there is a new id, different each time.
func TestIDs(t *testing.T) {
	url, log := serve(t, always, func(http.ResponseWriter, *http.Request) {})
	made := regexp.MustCompile(`^[0-9a-f]{16}$`)
	known := map[string]bool{}
	for _, c := range []struct {
		sent []string
		kept bool
	}{
		{nil, false},
		{[]string{"a"}, true},
		{[]string{"AZaz09._-"}, true},
		{[]string{strings.Repeat("x", 64)}, true},
		{[]string{strings.Repeat("x", 65)}, false},
		{[]string{""}, false},
		{[]string{"a b"}, false},
		{[]string{"a\tb"}, false},
		{[]string{`a"b`}, false},
		{[]string{"ä"}, false},
		{[]string{"a/b"}, false},
		{[]string{"one", "two"}, false},
	} {
		r := must.Get(http.NewRequest("GET", url, nil))(t)
		r.Header["X-Request-Id"] = c.sent
		resp := must.Get(http.DefaultClient.Do(r))(t)
		resp.Body.Close()
		got := resp.Header.Values("X-Request-Id")
		switch {
		case len(got) != 1:
			t.Errorf("%q: got %q, want one id", c.sent, got)
			continue
		case c.kept && got[0] != c.sent[0], !c.kept && (!made.MatchString(got[0]) || known[got[0]]):
			t.Errorf("%q: got %q", c.sent, got)
		}
		known[got[0]] = true
		if line := <-log; !strings.Contains(line, " request_id="+got[0]+"\n") {
			t.Errorf("%q: the id is not in the log: %s", c.sent, line)
		}
	}
}

// TestRecords: what a record says, however the reply ends.
func TestRecords(t *testing.T) {
	fill := func(r *http.Request) {
		record := access.Of(r)
		record.Route, record.UID, record.Token = "GET /x/{id}", "ada@example.com", "01ab"
	}
	for what, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"nothing is written": {func(http.ResponseWriter, *http.Request) {}, `route=none status=200 bytes=0 uid="" token_id=""`},
		"a body alone":       {func(w http.ResponseWriter, r *http.Request) { fill(r); io.WriteString(w, "12345") }, `route="GET /x/{id}" status=200 bytes=5 uid=ada@example.com token_id=01ab`},
		"a status and a body": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "123")
			fmt.Fprint(w, "45")
		}, `route=none status=418 bytes=5 uid="" token_id=""`},
		"an interim status": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusNotFound)
		}, `route=none status=404 bytes=0 uid="" token_id=""`},
		"cut off": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "1234")
			panic(http.ErrAbortHandler)
		}, `route=none status=200 bytes=4 uid="" token_id=""`},
		"flushed": {func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			io.WriteString(w, "1")
		}, `route=none status=200 bytes=1 uid="" token_id=""`},
	} {
		url, log := serve(t, always, c.handler)
		resp, err := http.Get(url + "/x/secret?token=secret")
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		} else if what != "cut off" {
			t.Fatal(err)
		}
		line := <-log
		got := regexp.MustCompile(`(duration_us=\d+|address=192\.0\.2\.7|request_id=[0-9a-f]{16}) ?`).ReplaceAllString(line[strings.Index(line, "level="):], "")
		if got = strings.TrimSpace(got); got != "level=INFO msg=request method=GET "+c.want {
			t.Errorf("%s: got %s", what, line)
		}
	}
}

// TestOnAndOff: a request is recorded if the log is on when it begins, and the other
// requests have an id all the same.
func TestOnAndOff(t *testing.T) {
	var mu sync.Mutex
	on := false
	url, log := serve(t, func() bool { mu.Lock(); defer mu.Unlock(); return on }, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, access.Of(r) != nil, " ", access.ID(w) != "")
	})
	for _, want := range []bool{false, true, false} {
		mu.Lock()
		on = want
		mu.Unlock()
		resp := must.Get(http.Get(url))(t)
		b := new(strings.Builder)
		bufio.NewReader(resp.Body).WriteTo(b)
		resp.Body.Close()
		if b.String() != fmt.Sprint(want, " ", true) {
			t.Errorf("on %t: got %s", want, b)
		}
		if want {
			<-log
		}
		if len(log) > 0 {
			t.Errorf("on %t: got the record %s", want, <-log)
		}
	}
}

// TestLongMethod: a method that a client made up does not fill the log.
func TestLongMethod(t *testing.T) {
	url, log := serve(t, always, func(http.ResponseWriter, *http.Request) {})
	r := must.Get(http.NewRequest(strings.Repeat("M", 5000), url, nil))(t)
	resp := must.Get(http.DefaultClient.Do(r))(t)
	resp.Body.Close()
	if line := <-log; len(line) > 400 {
		t.Errorf("the record has %d bytes", len(line))
	}
}
