package tui

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/say"
)

// before returns a time in milliseconds, so long before noon.
func before(d time.Duration) int64 { return noon.Add(-d).UnixMilli() }

// id returns the id of the nth token.
func id(n int) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	return "01" + hex.EncodeToString(sum[:13])
}

// people returns a fake with a few users and tokens of every kind.
func people() *fake {
	f := &fake{status: healthy(8, 10, 5)}
	add := func(uid, name, source, state string, age time.Duration, tokens ...api.Token) {
		u := api.User{UID: uid, Name: name, Source: source, State: state, Created: before(age)}
		for _, t := range tokens {
			t.ID, t.UID, t.ExpiresOn = id(len(f.tokens)), uid, cmp.Or(t.ExpiresOn, api.Never)
			t.State = cmp.Or(t.State, api.StateLive)
			if t.Used() {
				u.LastUsed = max(u.LastUsed, t.LastUsed)
			}
			if t.State != api.StateRevoked {
				u.Tokens++
			}
			if t.State != api.StateRevoked && noon.Sub(time.UnixMilli(t.LastUsed)) >= api.StaleAfter {
				u.Stale++
			}
			t.Uses = int64(1000 * len(f.tokens))
			f.tokens = append(f.tokens, t)
		}
		f.users = append(f.users, u)
	}
	tok := func(name string, created, used time.Duration, from string) api.Token {
		return api.Token{Name: name, Created: before(created), LastUsed: before(used), LastAddress: from}
	}
	with := func(t api.Token, change func(*api.Token)) api.Token { change(&t); return t }
	add("ali.baba@corp.example", "Ali Baba", "oidc", api.StateActive, 1160*say.Day,
		tok("forty-thieves", 900*say.Day, 400*say.Day, "10.1.2.3"), tok("cave", 300*say.Day, 2*say.Day, "10.1.2.3"))
	add("alice@example.com", "Alice", "ldap", api.StateActive, 760*say.Day,
		tok("backup", 700*say.Day, 214*say.Day, "192.0.2.17"), tok("laptop", 120*say.Day, 3*time.Minute, "2001:db8:85a3:8d3:1319:8a2e:370:7348"),
		tok("ci", 90*say.Day, 90*say.Day, ""))
	add("alina@example.com", "", "local", api.StateActive, 590*say.Day, tok("", 590*say.Day, 214*say.Day, "198.51.100.4"))
	add("alistair@example.com", "Alistair", "ldap", api.StateDisabled, 365*say.Day,
		with(tok("old", 365*say.Day, 100*say.Day, "10.0.0.9"), func(t *api.Token) { t.State = api.StateSuspended }))
	add("evil@example.com", "\u202eevil\x1b[2J", "github", api.StateActive, 3*say.Day,
		tok("\x1b]0;pwned\x07", 3*say.Day, 40*time.Minute, "203.0.113.5"))
	add("名前@example.jp", "山田 太郎", "ldap", api.StateSuspended, 40*say.Day,
		with(tok("トークン", 40*say.Day, 40*say.Day, ""), func(t *api.Token) { t.State = api.StateSuspended }))
	add("zoë@example.com", "Zoe\u0308", "local", api.StateActive, 10*say.Day,
		with(tok("reader", 10*say.Day, 5*time.Hour, "10.0.0.7"), func(t *api.Token) {
			t.ExpiresOn, t.Scopes, t.Addresses = "2026-06-01T00:00:00.000Z", []string{"files", "tokens:read"}, []string{"10.0.0.0/8"}
		}),
		with(tok("gone", 9*say.Day, 8*say.Day, "10.0.0.7"), func(t *api.Token) { t.State = api.StateRevoked }))
	slices.SortFunc(f.users, func(x, y api.User) int { return strings.Compare(x.UID, y.UID) })
	f.events = happened()
	return f
}

// happened is an audit log.
func happened() []api.Event {
	var out []api.Event
	add := func(age time.Duration, e api.Event) {
		e.Sequence, e.Time, e.Count = uint64(len(out)+1), before(age), max(e.Count, 1)
		out = append(out, e)
	}
	add(900*say.Day, api.Event{Actor: "root", Action: "user.add", UID: "alice@example.com"})
	add(700*say.Day, api.Event{Actor: "alice@example.com", Address: "192.0.2.17", Action: "token.create", UID: "alice@example.com", Token: id(2)})
	add(40*say.Day, api.Event{Actor: "ldap", Action: "user.suspend", UID: "名前@example.jp", Detail: "disabled in the directory"})
	add(3*time.Hour, api.Event{Address: "203.0.113.5", Action: "login.refused", UID: "evil\u202e@example.com", Count: 41})
	add(time.Hour, api.Event{Actor: "gatehouse", Action: "offboard.held", Detail: "of 40 asked about; `gatehouse user offboard` shows them", Count: 12})
	add(time.Minute, api.Event{Actor: "root", Action: "token.revoke", UID: "alice@example.com", Token: id(2)})
	return out
}

// healthy is the status of a server that is busy.
func healthy(users, tokens, stale int) api.Status {
	s := api.Status{Version: "v1", Started: before(292 * time.Hour), Users: users, Tokens: tokens, Stale: stale, Actor: "root", Role: api.Admin}
	for i := range 120 {
		s.Activity.Requests = append(s.Activity.Requests, 12+(i*i)%31)
		s.Activity.Refused = append(s.Activity.Refused, max(0, i%40-37))
		s.Activity.Revoked = append(s.Activity.Revoked, 0)
	}
	s.Activity.P50, s.Activity.P99 = 0.041, 1.234
	s.Store = api.StoreHealth{Bytes: 734_003_200, Free: 41_000_000_000, LastBackup: before(9 * time.Hour)}
	s.Certificate.NotAfter = noon.Add(61 * say.Day).UnixMilli()
	s.Directory = []api.Health{{Name: "ldaps://ldap1.example.com", Reachable: true, Latency: 3.25, LastSuccess: before(20 * time.Second)}}
	s.Providers = []api.Health{{Name: "github"}}
	return s
}

// ailing is the status of a server that needs attention.
func ailing() api.Status {
	s := healthy(8, 10, 5)
	s.Store = api.StoreHealth{Bytes: 734_003_200, Free: 41_000_000, Problem: "less than 64 MiB are free: only revocations are taken", LastBackup: 0}
	s.Certificate = api.Certificate{NotAfter: noon.Add(3 * say.Day).UnixMilli(), Problem: "/etc/gatehouse/tls.crt: no such file or directory"}
	s.Directory = append(s.Directory, api.Health{
		Name: "ldap://ldap2.example.com", Insecure: "neither TLS nor StartTLS", LastSuccess: before(5 * time.Hour), LastFailure: before(5 * time.Second),
		LastError: "dial tcp 192.0.2.9:389: connect: connection refused \x1b[31m",
	})
	s.Held = 12
	return s
}

// many returns a fake with n users of one token each.
func many(n int) *fake {
	f := &fake{status: healthy(n, n, n/2)}
	for i := range n {
		uid := fmt.Sprintf("user%07d@example.com", i)
		f.users = append(f.users, api.User{UID: uid, Source: "local", State: api.StateActive, Created: before(say.Day), Tokens: 1, LastUsed: before(time.Duration(n-i) * time.Minute)})
		f.tokens = append(f.tokens, api.Token{ID: id(i), UID: uid, Name: "t", Created: before(1000 * say.Day), LastUsed: before(time.Duration(n-i) * 2 * time.Hour), ExpiresOn: api.Never, State: api.StateLive})
	}
	return f
}

// TestAllIsWell: the first line of Status says whether all is well, and what to look at.
func TestAllIsWell(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("5")
	d.want("   ok  All is well.", "never used                      2")
	f := people()
	f.status = ailing()
	d = drive(t, f, Options{})
	d.send(tea.WindowSizeMsg{Width: 160, Height: 50})
	d.press("5")
	d.want("   !!  Not all is well: look at store, off-boarding, ldap://ldap2.example.com, last backup and certificate.")
	f = people()
	f.status.Store.LastBackup, f.status.Store.BackupOverdue = before(9*24*time.Hour), true
	d = drive(t, f, Options{})
	d.press("5")
	d.want("   !   Not all is well: look at last backup.")
}
