package tui

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"gatehouse/server/api"
)

// noon is when all tests take place.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// fake answers like the server, from slices. Layout and keys are tried on it;
// the real store is tried through the binary.
type fake struct {
	sync.Mutex
	users   []api.User
	tokens  []api.Token
	events  []api.Event
	status  api.Status
	err     error // of every call
	changes []string
	asked   int  // listings
	read    int  // rows of them
	job     bool // a bulk revocation is under way, and may be stopped
}

func (f *fake) do(change string, args ...any) error {
	f.Lock()
	defer f.Unlock()
	if f.err == nil && change != "" {
		f.changes = append(f.changes, fmt.Sprintf(change, args...))
	}
	return f.err
}

func (f *fake) Status(context.Context) (api.Status, error) { return f.status, f.do("") }

// page yields what of rows comes after a cursor.
func page[T any](f *fake, rows []T, compare func(x, y T) int, cursor func(T) string, after string, reverse bool, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if err := f.do(""); err != nil {
			yield(zero, err)
			return
		}
		f.asked++
		slices.SortFunc(rows, func(x, y T) int {
			if reverse {
				x, y = y, x
			}
			return compare(x, y)
		})
		if after != "" {
			rows = rows[slices.IndexFunc(rows, func(r T) bool { return cursor(r) == after })+1:]
		}
		for i, r := range rows {
			if limit > 0 && i == limit {
				return
			}
			if f.read++; !yield(r, nil) {
				return
			}
		}
	}
}

func (f *fake) Users(_ context.Context, q api.UserQuery) iter.Seq2[api.User, error] {
	compare := func(x, y api.User) int {
		by := map[api.Order]int{api.ByLastUsed: cmp.Compare(x.LastUsed, y.LastUsed), api.ByCreated: cmp.Compare(x.Created, y.Created), api.ByTokens: cmp.Compare(x.Tokens, y.Tokens)}
		return cmp.Or(by[q.Order], strings.Compare(x.UID, y.UID))
	}
	return page(f, f.usersOf(q), compare, func(u api.User) string { return u.Cursor(q.Order) }, q.After, q.Reverse, q.Limit)
}

func (f *fake) usersOf(q api.UserQuery) []api.User {
	var out []api.User
	for _, u := range f.users {
		if starts(u.UID, q.Prefix) {
			out = append(out, u)
		}
	}
	return out
}

func (f *fake) UserCount(_ context.Context, q api.UserQuery) (api.Count, error) {
	return api.Count{Rows: len(f.usersOf(q))}, f.do("")
}

func (f *fake) User(_ context.Context, uid string) (api.UserDetail, error) {
	for _, u := range f.users {
		if u.UID == uid {
			d := api.UserDetail{User: u, Days: days(int(u.Created % 7))}
			if u.Source != "local" {
				d.Identities = []api.Identity{{Source: u.Source, Subject: "0f3a6c1e-" + strconv.FormatInt(u.Created, 16)}}
			}
			return d, f.do("")
		}
	}
	return api.UserDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such user"}
}

// days returns the uses of thirty days.
func days(seed int) []int64 {
	out := make([]int64, 30)
	for i := range out {
		out[i] = int64((i*i*7+seed*13)%97) * int64(i%5)
	}
	return out
}

func (f *fake) AddUser(_ context.Context, n api.NewUser) (string, error) {
	if !strings.Contains(n.UID, "@") {
		return "", &api.Error{Status: http.StatusBadRequest, Message: "A uid is an e-mail address"}
	}
	return "made-password", f.do("add %s %s", n.UID, n.Name)
}

func (f *fake) SetPassword(_ context.Context, uid, _ string) (string, error) {
	return "made-password", f.do("password %s", uid)
}

func (f *fake) DisableUser(_ context.Context, uid string) error { return f.do("disable %s", uid) }

func (f *fake) EnableUser(_ context.Context, uid string) error { return f.do("enable %s", uid) }

func (f *fake) Tokens(_ context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	compare := func(x, y api.Token) int {
		if q.Order == api.ByCreated {
			return cmp.Or(cmp.Compare(x.Created, y.Created), strings.Compare(x.ID, y.ID))
		}
		return cmp.Or(cmp.Compare(x.LastUsed, y.LastUsed), strings.Compare(x.ID, y.ID))
	}
	return page(f, f.tokensOf(q), compare, func(t api.Token) string { return t.Cursor(q.Order) }, q.After, q.Reverse, q.Limit)
}

func (f *fake) tokensOf(q api.TokenQuery) []api.Token {
	f.Lock()
	defer f.Unlock()
	var out []api.Token
	for _, t := range f.tokens {
		days, err := time.ParseDuration(strings.TrimSuffix(q.Idle, "d") + "h")
		switch {
		case q.User != "" && q.User != t.UID, q.NeverUsed && t.Used(), !q.Revoked && t.State == api.StateRevoked,
			!starts(t.UID, q.Prefix) && !starts(t.ID, q.Prefix), err == nil && t.LastUsed > noon.Add(-days*24).UnixMilli():
		default:
			out = append(out, t)
		}
	}
	return out
}

func (f *fake) TokenCount(_ context.Context, q api.TokenQuery) (api.Count, error) {
	return api.Count{Rows: len(f.tokensOf(q))}, f.do("")
}

func (f *fake) Token(_ context.Context, id string) (api.TokenDetail, error) {
	if err := f.do(""); err != nil {
		return api.TokenDetail{}, err
	}
	for i, t := range f.tokens {
		if t.ID == id {
			return api.TokenDetail{Token: t, CreatedBy: t.UID, Days: days(i), Seen: []api.SeenFrom{
				{Address: t.LastAddress, Agent: "curl/8.5.0", Time: t.LastUsed},
				{Address: "203.0.113.77", Agent: "evil\x1b]0;agent\x07/1.0", Time: t.LastUsed - 5000_000},
			}}, nil
		}
	}
	return api.TokenDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such token"}
}

func (f *fake) Revoke(_ context.Context, r api.Revocation) (api.Revoked, error) {
	if err := f.do("revoke %s", strings.Join(r.IDs, " ")); err != nil {
		return api.Revoked{}, err
	}
	f.Lock()
	defer f.Unlock()
	n := 0
	for i := range f.tokens {
		if slices.Contains(r.IDs, f.tokens[i].ID) && f.tokens[i].State != api.StateRevoked {
			f.tokens[i].State = api.StateRevoked
			n++
		}
	}
	return api.Revoked{Revoked: n}, nil
}

// RevokeMatching works in steps of 1000.
func (f *fake) RevokeMatching(ctx context.Context, q api.BulkRevocation) iter.Seq2[api.Progress, error] {
	return func(yield func(api.Progress, error) bool) {
		all := f.tokensOf(api.TokenQuery{User: q.User, Idle: q.Idle, NeverUsed: q.NeverUsed})
		p := api.Progress{Job: "job-1", Total: len(all)}
		f.job = true
		for yield(p, nil) && !p.Done {
			var ids []string
			for _, t := range all[p.Revoked:min(p.Revoked+1000, len(all))] {
				ids = append(ids, t.ID)
			}
			if f.job {
				n, err := f.Revoke(ctx, api.Revocation{IDs: ids})
				if err != nil {
					yield(p, err)
					return
				}
				p.Revoked += n.Revoked
			}
			p.Done, p.Stopped = !f.job || p.Revoked == p.Total, !f.job
		}
	}
}

func (f *fake) StopRevocation(_ context.Context, job string) error {
	f.job = f.job && job != "job-1"
	return f.do("")
}

func (f *fake) Events(_ context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if err := f.do(""); err != nil {
			yield(api.Event{}, err)
			return
		}
		if n := len(f.events); q.Last > 0 && n > 0 {
			q.After = max(q.After, f.events[n-1].Sequence-min(f.events[n-1].Sequence, uint64(q.Last)))
		}
		for _, e := range f.events {
			if e.Sequence > q.After && (q.Token == "" || q.Token == e.Token) && (q.UID == "" || q.UID == e.UID) && !yield(e, nil) {
				return
			}
		}
	}
}

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
			u.LastUsed = max(u.LastUsed, t.LastUsed)
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
	add("ali.baba@corp.example", "Ali Baba", "oidc", api.StateActive, 1160*day,
		tok("forty-thieves", 900*day, 400*day, "10.1.2.3"), tok("cave", 300*day, 2*day, "10.1.2.3"))
	add("alice@example.com", "Alice", "ldap", api.StateActive, 760*day,
		tok("backup", 700*day, 214*day, "192.0.2.17"), tok("laptop", 120*day, 3*time.Minute, "2001:db8:85a3:8d3:1319:8a2e:370:7348"),
		tok("ci", 90*day, 90*day, ""))
	add("alina@example.com", "", "local", api.StateActive, 590*day, tok("", 590*day, 214*day, "198.51.100.4"))
	add("alistair@example.com", "Alistair", "ldap", api.StateDisabled, 365*day,
		with(tok("old", 365*day, 100*day, "10.0.0.9"), func(t *api.Token) { t.State = api.StateSuspended }))
	add("evil@example.com", "\u202eevil\x1b[2J", "github", api.StateActive, 3*day,
		tok("\x1b]0;pwned\x07", 3*day, 40*time.Minute, "203.0.113.5"))
	add("名前@example.jp", "山田 太郎", "ldap", api.StateSuspended, 40*day,
		with(tok("トークン", 40*day, 40*day, ""), func(t *api.Token) { t.State = api.StateSuspended }))
	add("zoë@example.com", "Zoe\u0308", "local", api.StateActive, 10*day,
		with(tok("reader", 10*day, 5*time.Hour, "10.0.0.7"), func(t *api.Token) {
			t.ExpiresOn, t.Scopes, t.Addresses = "2026-06-01T00:00:00.000Z", []string{"files", "tokens:read"}, []string{"10.0.0.0/8"}
		}),
		with(tok("gone", 9*day, 8*day, "10.0.0.7"), func(t *api.Token) { t.State = api.StateRevoked }))
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
	add(900*day, api.Event{Actor: "root", Action: "user.add", UID: "alice@example.com"})
	add(700*day, api.Event{Actor: "alice@example.com", Address: "192.0.2.17", Action: "token.create", UID: "alice@example.com", Token: id(2)})
	add(40*day, api.Event{Actor: "ldap", Action: "user.suspend", UID: "名前@example.jp", Detail: "disabled in the directory"})
	add(3*time.Hour, api.Event{Address: "203.0.113.5", Action: "login.refused", UID: "evil\u202e@example.com", Detail: "wrong password", Count: 41})
	add(time.Hour, api.Event{Actor: "gatehouse", Action: "offboard.held", Detail: "12 of 40 people would change"})
	add(time.Minute, api.Event{Actor: "root", Action: "token.revoke", UID: "alice@example.com", Token: id(2)})
	return out
}

// healthy is the status of a server that is busy.
func healthy(users, tokens, stale int) api.Status {
	s := api.Status{Version: "v1", Started: before(292 * time.Hour), Users: users, Tokens: tokens, Stale: stale, Actor: "root"}
	for i := range 120 {
		s.Activity.Requests = append(s.Activity.Requests, 12+(i*i)%31)
		s.Activity.Refused = append(s.Activity.Refused, max(0, i%40-37))
		s.Activity.Revoked = append(s.Activity.Revoked, 0)
	}
	s.Activity.P50, s.Activity.P99 = 0.041, 1.234
	s.Store = api.StoreHealth{Bytes: 734_003_200, Free: 41_000_000_000, LastBackup: before(9 * time.Hour)}
	s.Certificate.NotAfter = noon.Add(61 * day).UnixMilli()
	s.Directory = []api.Health{{Name: "ldaps://ldap1.example.com", Reachable: true, Latency: 3.25, LastSuccess: before(20 * time.Second)}}
	s.Providers = []api.Health{{Name: "github"}}
	return s
}

// ailing is the status of one that needs somebody.
func ailing() api.Status {
	s := healthy(8, 10, 5)
	s.Store = api.StoreHealth{Bytes: 734_003_200, Free: 41_000_000, Problem: "less than 64 MiB are free: only revocations are taken", LastBackup: 0}
	s.Certificate = api.Certificate{NotAfter: noon.Add(3 * day).UnixMilli(), Problem: "/etc/gatehouse/tls.crt: no such file or directory"}
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
		f.users = append(f.users, api.User{UID: uid, Source: "local", State: api.StateActive, Created: before(day), Tokens: 1, LastUsed: before(time.Duration(n-i) * time.Minute)})
		f.tokens = append(f.tokens, api.Token{ID: id(i), UID: uid, Name: "t", Created: before(1000 * day), LastUsed: before(time.Duration(n-i) * 2 * time.Hour), ExpiresOn: api.Never, State: api.StateLive})
	}
	return f
}

// driver feeds a model by hand, without a terminal or waiting.
type driver struct {
	*model
	t     testing.TB
	clock time.Time
	timed []tea.Msg // what the model wants to hear later
	held  []tea.Cmd // commands not run yet, while hold
	hold  bool
	blind bool // draw only when the test looks: thousands of keys are quicker so
	quit  bool
	sent  []string // to the clipboard
}

func drive(t testing.TB, c client, o Options) *driver {
	r := lipgloss.NewRenderer(nil)
	r.SetColorProfile(termenv.Ascii)
	d := &driver{t: t, clock: noon}
	o.Now = func() time.Time { return d.clock }
	d.model = newModel(t.Context(), c, o, newStyles(r))
	d.later = func(_ time.Duration, msg tea.Msg) tea.Cmd {
		d.timed = append(d.timed, msg)
		return nil
	}
	d.clipboard = func(s string) error {
		d.sent = append(d.sent, s)
		return nil
	}
	d.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	d.run(d.Init())
	return d
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.Update(msg)
	d.run(cmd)
	if d.width > 0 && !d.blind {
		d.View() // as the program would, before the next key
	}
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if d.hold {
		d.held = append(d.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			d.run(c)
		}
	case tea.QuitMsg:
		d.quit = true
	default:
		d.send(msg)
	}
}

// release runs what was held.
func (d *driver) release() {
	d.hold = false
	held := d.held
	d.held = nil
	for _, c := range held {
		d.run(c)
	}
}

// next runs what was held so far, and holds what comes of it.
func (d *driver) next() {
	held := d.held
	d.held = nil
	for _, c := range held {
		d.hold = false
		msg := c()
		d.hold = true
		d.deliver(msg)
	}
}

// tick lets time pass.
func (d *driver) tick(by time.Duration) {
	d.clock = d.clock.Add(by)
	timed := d.timed
	d.timed = nil
	for _, msg := range timed {
		d.send(msg)
	}
}

// press sends keys, each in its own message: runes, or names in <…>.
func (d *driver) press(keys string) {
	named := map[string]tea.KeyType{
		"enter": tea.KeyEnter, "esc": tea.KeyEsc, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "backspace": tea.KeyBackspace, "ctrl+c": tea.KeyCtrlC, "shift+tab": tea.KeyShiftTab,
	}
	for keys != "" {
		if name, rest, ok := strings.Cut(strings.TrimPrefix(keys, "<"), ">"); ok && keys[0] == '<' {
			d.send(tea.KeyMsg{Type: named[name]})
			keys = rest
			continue
		}
		r := []rune(keys)[0]
		keys = keys[len(string(r)):]
		if r == ' ' {
			d.send(tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}})
			continue
		}
		d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}})
	}
}

// merged sends keys merged in one message.
func (d *driver) merged(keys string) {
	d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(keys)})
}

func (d *driver) paste(s string) {
	d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s), Paste: true})
}

// want fails unless the frame shows all of these.
func (d *driver) want(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.View(), p) {
			d.t.Errorf("%q is missing from\n%s", p, d.View())
		}
	}
}

func (d *driver) wantNot(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if strings.Contains(d.View(), p) {
			d.t.Errorf("%q is in\n%s", p, d.View())
		}
	}
}
