package health_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/health"
	"gatehouse/tui/text"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func in(d time.Duration) int64 { return noon.Add(d).UnixMilli() }

// sound is the status of a server with everything that can be wrong, and nothing wrong.
func sound() api.Status {
	return api.Status{
		Store:       api.StoreHealth{Bytes: 5 << 20, Journal: 1 << 20, Free: 1 << 40, LastBackup: in(-time.Hour)},
		Certificate: api.Certificate{NotAfter: in(90 * 24 * time.Hour)},
		Activity:    api.Activity{Requests: []int{3, 0, 8}, Refused: []int{0, 0, 0}, Revoked: []int{0, 1, 0}, P50: 0.1, P99: 2},
		Directory:   []api.Health{{Name: "ldaps://one.example.com", Reachable: true, LastSuccess: in(-time.Second)}},
		Providers:   []api.Health{{Name: "github", Reachable: true, LastSuccess: in(-time.Second), Recheck: &api.Recheck{Swept: in(-time.Minute)}}},
	}
}

func report(st api.Status) health.Report {
	plain := func(s ...string) string { return strings.Join(s, "") }
	return health.Report{Status: st, Now: noon, Rows: 1, Paint: health.Paint{Heads: plain, Warn: plain, Well: plain}}
}

// TestChecks: each thing that can be wrong has its mark and what to do about it, and is in
// the first line.
func TestChecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*api.Status)
		first  string
		lines  []string
	}{
		{"nothing", func(*api.Status) {}, "   ok  All is well.", []string{"ok  store", "ok  journal", "1.0 MiB of it", "ok  last backup", "ok  certificate", "ok  verification  p50 100 µs, p99 2.0 ms", "ok  held", "ok  directory     ldaps://one.example.com", "ok  provider      github"}},
		{"the store", func(s *api.Status) { s.Store.Problem = "less than 64 MiB are free" }, "   !!  Not all is well: look at store.", []string{"!!  store", "less than 64 MiB are free", "make room"}},
		{"no backup", func(s *api.Status) { s.Store.LastBackup = 0 }, "   !   Not all is well: look at last backup.", []string{"!   last backup   never", "gatehouse backup FILE makes one"}},
		{"an old backup", func(s *api.Status) { s.Store.BackupOverdue = true }, "   !   Not all is well: look at last backup.", []string{"!   last backup", "gatehouse backup FILE makes one"}},
		{"a certificate that ends", func(s *api.Status) { s.Certificate.NotAfter = in(24 * time.Hour) }, "   !   Not all is well: look at certificate.", []string{"!   certificate   ends", "renew"}},
		{"one that has ended", func(s *api.Status) { s.Certificate.NotAfter = in(-time.Hour) }, "   !!  Not all is well: look at certificate.", []string{"!!  certificate   ended", "renew"}},
		{"newer files that are wrong", func(s *api.Status) { s.Certificate.Problem = "no PEM" }, "   !   Not all is well: look at certificate.", []string{"!   certificate", "no PEM"}},
		{"slow verification", func(s *api.Status) { s.Activity.P99 = 800 }, "   !   Not all is well: look at verification.", []string{"!   verification  p50 100 µs, p99 800 ms", "gatehouse manual sizing"}},
		{"the clock", func(s *api.Status) { s.Clock = "it went back" }, "   !!  Not all is well: look at clock.", []string{"!!  clock         it went back"}},
		{"a sweep", func(s *api.Status) { s.Held = 12 }, "   !!  Not all is well: look at off-boarding.", []string{"!!  off-boarding  a sweep is held: it would change 12 users", "gatehouse user offboard --confirm"}},
		{"another act", func(s *api.Status) { s.HeldActs = []api.HeldAct{{Action: "drop old events", Count: 7, Of: 9}} }, "   !   Not all is well: look at held.", []string{"!   held          would drop old events: 7 of 9"}},
		{"orphans", func(s *api.Status) { s.Orphaned = 1 }, "   !   Not all is well: look at orphaned.", []string{"1 service account without an owner", "gatehouse service list"}},
		{"a directory", func(s *api.Status) {
			s.Directory[0] = api.Health{Name: "ldaps://one.example.com", LastFailure: in(-time.Minute), LastError: "refused \x1b[2J"}
		}, "   !!  Not all is well: look at ldaps://one.example.com.", []string{"!!  directory", "FAILS", `last error 1 min ago: refused \x1b[2J`, "gatehouse manual ldap"}},
		{"an insecure one", func(s *api.Status) { s.Directory[0].Insecure = "no TLS" }, "   !   Not all is well: look at ldaps://one.example.com.", []string{"!   directory", "insecure: no TLS"}},
		{"unverified users", func(s *api.Status) { s.Providers[0].Recheck.Unverified = 3 }, "   !   Not all is well: look at github.", []string{"3 users unverified: gatehouse user show UID says why"}},
		{"two, the worse first", func(s *api.Status) { s.Orphaned, s.Held = 1, 1 }, "   !!  Not all is well: look at off-boarding and orphaned.", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := sound()
			c.change(&st)
			for _, width := range []int{60, 100, 120, 200} {
				lines := report(st).Lines(width)
				if width > 60 && lines[0] != c.first {
					t.Errorf("at %d columns it begins with %q, want %q", width, lines[0], c.first)
				}
				all := strings.Join(lines, "\n")
				for _, want := range c.lines {
					if width != 60 && width != 120 && !strings.Contains(all, want) {
						t.Errorf("at %d columns %q is missing from\n%s", width, want, all)
					}
				}
				for _, l := range lines {
					if text.Width(l) > width || strings.Contains(l, "\x1b") {
						t.Errorf("at %d columns: %q", width, l)
					}
				}
			}
		})
	}
}

// TestNoServer: without a server nothing is well, and what else is wrong is said too.
func TestNoServer(t *testing.T) {
	full := sound()
	full.Store.Problem = "less than 64 MiB are free"
	for _, c := range []struct {
		st            api.Status
		lost, offline bool
		want          []string
	}{
		{sound(), true, false, []string{"   !!  No server answers: what follows is from before.", ""}},
		{sound(), false, true, []string{"   !!  No server runs, so no token works.", ""}},
		{full, false, true, []string{"   !!  No server runs, so no token works.", "   !!  Not all is well: look at store.", ""}},
		{full, true, false, []string{"   !!  No server answers: what follows is from before.", "   !!  Not all is well: look at store.", ""}},
	} {
		r := report(c.st)
		r.Lost, r.Offline = c.lost, c.offline
		lines := r.Lines(100)
		for n, want := range c.want {
			if !strings.HasPrefix(lines[n], want) || want == "" && lines[n] != "" {
				t.Errorf("line %d is %q, want %q", n, lines[n], want)
			}
		}
		if strings.Contains(strings.Join(lines, "\n"), "All is well") {
			t.Errorf("all is well: %q", lines)
		}
	}
}

// TestScale: a graph says what its height means, on one line or several.
func TestScale(t *testing.T) {
	r := report(sound())
	for rows, want := range map[int][]string{
		1: {"   requests        0-8 ▃.█  8/s", "   revoked         0-1 .█.  0/s", "   refused         0-0 ...  0/s"},
		2: {"   requests          8   █\n                     0 ▆.█  8/s", "   refused         0-0 ...  0/s"},
	} {
		r.Rows = rows
		all := strings.Join(r.Lines(100), "\n") + "\n"
		for _, w := range want {
			if !strings.Contains(all, w+"\n") {
				t.Errorf("with %d rows, %q is missing from\n%s", rows, w, all)
			}
		}
	}
}

// TestOffline: nothing is said of what only a server has.
func TestOffline(t *testing.T) {
	r := report(api.Status{Store: api.StoreHealth{LastBackup: in(-time.Hour)}})
	r.Offline = true
	if all := strings.Join(r.Lines(100), "\n"); strings.Contains(all, "certificate") || strings.Contains(all, "directory") || strings.Contains(all, "verification") {
		t.Errorf("got\n%s", all)
	}
}

// counter has tokens of known ages and ends.
type counter struct {
	idle, ends []int // days
	never      int   // used, of those of the ages
	fails      bool
}

func (c counter) TokenCount(_ context.Context, q api.TokenQuery) (api.Count, error) {
	if c.fails {
		return api.Count{}, errors.New("broken")
	}
	days := 0
	value := slices.Concat(q.Filters["idle"], q.Filters["expires-within"])
	if len(value) > 0 {
		fmt.Sscanf(value[0], "%dd", &days)
	}
	n := 0
	switch {
	case q.Filters["expires-within"] != nil:
		for _, d := range c.ends {
			if d < days {
				n++
			}
		}
	case q.Filters["state"] != nil:
		n = len(c.idle) + c.never
	default:
		if n = c.never; q.Filters["never-used"] != nil {
			break
		}
		for _, d := range c.idle {
			if d >= days {
				n++
			}
		}
	}
	return api.Count{Rows: n}, nil
}

// TestCount: each token is in one group.
func TestCount(t *testing.T) {
	c := counter{idle: []int{0, 29, 30, 100, 200, 400, 500}, never: 2, ends: []int{0, 3, 8, 60, 300, 1000}}
	got := must.Get(health.Count(t.Context(), c))(t)
	if want := []int{2, 1, 1, 1, 2, 2}; !slices.Equal(got.Ages, want) {
		t.Errorf("ages: got %v, want %v", got.Ages, want)
	}
	if want := []int{1, 1, 1, 1, 1, 1, 3}; !slices.Equal(got.Ends, want) {
		t.Errorf("ends: got %v, want %v", got.Ends, want)
	}
	r := report(sound())
	r.Counts = got
	all := strings.Join(r.Lines(100), "\n")
	for _, want := range []string{"   within 30 days                  2  ████", "   never used                      2  ████", "   90 days to a year               1  ████", "   never                           3  ████"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing from\n%s", want, all)
		}
	}
	c.fails = true
	if _, err := health.Count(t.Context(), c); err == nil {
		t.Error("a failure is hidden")
	}
}
