package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/storage/storagetest/must"
)

// TestLoginMemory sends 1,000 logins at once, and each hashes in 19 MiB: memory must not
// grow with their number.
func TestLoginMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a thousand hashes take half a minute, and the race detector's memory is not ours")
	}
	if anonymous(t) == 0 {
		t.Skip("no /proc/self/status: the memory is not measured")
	}
	const logins = 1000
	h := newHouse(t, func(c *config.Config) {
		c.Tokens.MaxPerUser = 2 * logins
		c.Logins = config.Logins{Local: true, AccountFailures: 1000, AddressFailures: 60_000}
	})
	h.hashWith(guard.NewHasher(guard.HashParams, 4, 1024)) // as on a large machine
	h.addUser("known@example.com", password)
	url := h.serve() + userpassPath
	for what, c := range map[string]struct {
		username func(i int) string
		done     int
	}{
		"one account":    {func(int) string { return "known@example.com" }, http.StatusOK},
		"nobody's names": {func(i int) string { return fmt.Sprintf("u%d@example.com", i) }, http.StatusUnauthorized},
	} {
		codes, grown, took := flood(t, url, logins, c.username)
		t.Logf("%s: %d answered %v in %v; anonymous memory grew by %d MiB at most", what, logins, codes, took.Round(time.Millisecond), grown>>20)
		if grown >= 150<<20 {
			t.Errorf("%s: got %d MiB more, want less than 150", what, grown>>20)
		}
		if codes[c.done] == 0 || codes[c.done]+codes[http.StatusServiceUnavailable] != logins {
			t.Errorf("%s: got %v, want %d and 503 alone", what, codes, c.done)
		}
	}
}

// TestListingMemory lists 100,000 tokens of one user in every way to list them. The
// memory must not grow with the number of tokens.
func TestListingMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a hundred thousand tokens take some seconds, and the race detector's memory is not ours")
	}
	if anonymous(t) == 0 {
		t.Skip("no /proc/self/status: the memory is not measured")
	}
	const tokens = 100_000
	h := newHouse(t)
	cookie := h.login(alice, password)
	h.hold(tokens)
	url := h.serve()
	for _, path := range []string{"/api/getApiTokens", "/api/tokens", "/", "/?page=1000"} {
		debug.FreeOSMemory()
		before := anonymous(t)
		most := before
		r, err := http.NewRequest("GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", h.cookieName()+"="+cookie)
		resp := must.Get(http.DefaultClient.Do(r))(t)
		defer resp.Body.Close()
		size := 0
		for b := make([]byte, 256<<10); err == nil; {
			var n int
			n, err = resp.Body.Read(b)
			size += n
			most = max(most, anonymous(t))
		}
		if err != io.EOF || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %d, %v", path, resp.StatusCode, err)
		}
		grown := most - before
		t.Logf("%s: %d bytes; anonymous memory grew by %d MiB at most", path, size, grown>>20)
		if grown >= 40<<20 { // all of them take 60 and more
			t.Errorf("%s: got %d MiB more, want less than 40", path, grown>>20)
		}
	}
}

// flood logs in n times at once. It opens the connections first, so that it measures only
// the logins.
func flood(t *testing.T, url string, n int, username func(i int) string) (codes map[int]int, grown int64, took time.Duration) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	before := anonymous(t)
	most := before
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for tick := time.NewTicker(2 * time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, anonymous(t))
			case <-stop:
				tick.Stop()
				return
			}
		}
	})
	start := time.Now()
	codes = map[int]int{}
	for code := range together(n, func(i int) int {
		body := "username=" + username(i) + "&password=correct+horse+battery+staple"
		resp, err := client.Post(url, "application/x-www-form-urlencoded", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}) {
		codes[code]++
	}
	took = time.Since(start)
	close(stop)
	watch.Wait()
	return codes, most - before, took
}

// anonymous returns how many bytes of this process's memory no file backs; 0 if the
// system does not tell.
func anonymous(t *testing.T) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(b, []byte("RssAnon:"))
	if !ok {
		return 0
	}
	kib, err := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
	if err != nil {
		t.Error(err)
	}
	return kib << 10
}

// BenchmarkAuthenticated is one request that a token authenticates.
func BenchmarkAuthenticated(b *testing.B) {
	h := newHouse(b)
	token := h.token()
	for _, path := range []string{"/api/token", "/api/getUserRecentFiles"} {
		b.Run(path, func(b *testing.B) {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("X-Auth-Token", token)
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.web.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		r := httptest.NewRequest("GET", "/api/token", nil)
		r.Header.Set("X-Auth-Token", flip(token, 128))
		b.ReportAllocs()
		for b.Loop() {
			h.web.ServeHTTP(httptest.NewRecorder(), r)
		}
	})
}
