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
	"sort"
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
	status  api.Status
	err     error // of every call
	changes []string
	asked   int // listings
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

func (f *fake) Users(_ context.Context, q api.UserQuery) iter.Seq2[api.User, error] {
	return func(yield func(api.User, error) bool) {
		if err := f.do(""); err != nil {
			yield(api.User{}, err)
			return
		}
		f.asked++
		n := 0
		from := sort.Search(len(f.users), func(i int) bool { return f.users[i].UID > q.After })
		for _, u := range f.users[from:] {
			if strings.HasPrefix(u.UID, q.Prefix) && (q.Limit == 0 || n < q.Limit) {
				if n++; !yield(u, nil) {
					return
				}
			}
		}
	}
}

func (f *fake) User(_ context.Context, uid string) (api.UserDetail, error) {
	for _, u := range f.users {
		if u.UID == uid {
			return api.UserDetail{User: u}, f.do("")
		}
	}
	return api.UserDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such user"}
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
	return func(yield func(api.Token, error) bool) {
		if err := f.do(""); err != nil {
			yield(api.Token{}, err)
			return
		}
		f.asked++
		ts := slices.Clone(f.tokens)
		slices.SortFunc(ts, byUse)
		n, seen := 0, q.After == ""
		for _, t := range ts {
			switch days, err := time.ParseDuration(strings.TrimSuffix(q.Idle, "d") + "h"); {
			case !seen:
				seen = t.Cursor(api.ByLastUsed) == q.After
			case q.User != "" && q.User != t.UID, q.NeverUsed && t.Used(), q.Limit > 0 && n == q.Limit,
				err == nil && t.LastUsed > noon.Add(-days*24).UnixMilli():
			default:
				if n++; !yield(t, nil) {
					return
				}
			}
		}
	}
}

func byUse(x, y api.Token) int {
	return cmp.Or(cmp.Compare(x.LastUsed, y.LastUsed), strings.Compare(x.ID, y.ID))
}

func (f *fake) Revoke(_ context.Context, r api.Revocation) (api.Revoked, error) {
	if err := f.do("revoke %s", strings.Join(r.IDs, " ")); err != nil {
		return api.Revoked{}, err
	}
	n := 0
	for i := range f.tokens {
		if slices.Contains(r.IDs, f.tokens[i].ID) && f.tokens[i].State != api.StateRevoked {
			f.tokens[i].State = api.StateRevoked
			n++
		}
	}
	return api.Revoked{Revoked: n}, nil
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
	f := &fake{status: api.Status{Version: "v1", Started: before(292 * time.Hour), Users: 8, Tokens: 14, Actor: "root"}}
	add := func(uid, name, source, state string, age time.Duration, tokens ...api.Token) {
		u := api.User{UID: uid, Name: name, Source: source, State: state, Created: before(age)}
		for _, t := range tokens {
			t.ID, t.UID, t.ExpiresOn = id(len(f.tokens)), uid, cmp.Or(t.ExpiresOn, api.Never)
			t.State = cmp.Or(t.State, api.StateLive)
			u.LastUsed = max(u.LastUsed, t.LastUsed)
			if t.State != api.StateRevoked {
				u.Tokens++
			}
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
	return f
}

// many returns a fake with n users of one token each.
func many(n int) *fake {
	f := &fake{status: api.Status{Version: "v1", Started: before(day), Users: n, Tokens: n, Actor: "root"}}
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
