package tui

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
)

// TestAnotherListing asks for another listing while the server is slow, in every way that
// there is. Until the answer is there the rows of the one before stay, but they say so, and
// no key acts on them. The answers may come in any order.
func TestAnotherListing(t *testing.T) {
	for _, c := range []struct {
		name, open, ask string // the keys that lead to the screen, and those that ask
		acts            string // keys that act on a row
		want            string // in the frame, afterwards
	}{
		{"presets", "3", "<tab><tab><tab><tab>", "Ry yA<esc>", "[ends 7d]"},
		{"presets, back", "3", "<shift+tab><shift+tab><shift+tab><shift+tab><shift+tab><shift+tab>", "R<enter>y", "[unlimited]"},
		{"a filter of tokens", "2", "/alice<enter>", "RyY<enter>", "alice"},
		{"the order of tokens", "2", "sSsS", "R<enter>", "latest first"},
		{"a filter of users", "1", "/alice<enter>", "RlUPY<enter>", "alice"},
		{"the order of users", "1", "sSss", "RlU<enter>", "tokens, fewest first"},
		{"a filter of events", "4", "/login<enter>", "Yy<enter>", "login"},
		{"the order of events", "4", "S", "Yy<enter>", "oldest first"},
		{"a user's filter", "1j<enter>", "/laptop<enter>", "Ry<enter>", "laptop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := people()
			slow := drive(t, f, Options{})
			slow.press(c.open)
			slow.hold = true
			slow.press(c.ask)
			slow.hold = false
			slow.tick(listing.SlowAfter)
			slow.want("the rows are those of the question before")
			before := slow.screen()
			slow.press(c.acts)
			if slow.box != nil || slow.screen() != before || len(f.changes) > 0 {
				t.Errorf("%q acted on a row of the listing before:\n%s", c.acts, slow.View())
			}
			slices.Reverse(slow.held) // the newest answer comes first
			slow.release()
			slow.wantNot("the rows are those")

			quick := drive(t, people(), Options{})
			quick.press(c.open + c.ask)
			quick.want(c.want)
			if got, want := rowsOf(slow), rowsOf(quick); got != want {
				t.Errorf("a slow server leads to\n%s\na quick one to\n%s", got, want)
			}
		})
	}
}

// rowsOf returns the frame without the lines that tell the time and what was said.
func rowsOf(d *driver) string {
	lines := strings.Split(d.View(), "\n")
	return strings.Join(lines[1:len(lines)-2], "\n")
}

// TestAnotherListingRefused: when the server refuses the other listing, the rows of the
// one before do not stay under its head.
func TestAnotherListingRefused(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("2")
	d.want("alice@example.com")
	f.err = &api.Error{Status: 503, Message: "The disk is full"}
	d.press("s")
	d.wantNot("alice@example.com")
	d.want("The disk is full")
	f.err = nil
	d.press("r")
	d.want("alice@example.com", "created, oldest first")
}

// TestQuestionsTakeTheirScreenAlong: what a question asks is settled when it is asked, and
// does not change while it waits to be sent.
func TestQuestionsTakeTheirScreenAlong(t *testing.T) {
	seen := &asked{client: people()}
	d := drive(t, seen, Options{})
	d.hold = true
	d.press("3<tab><tab><tab>")
	d.release()
	want := []string{"90d", "180d", "365d", "", "90d", "180d", "365d", ""} // the listing has two parts
	slices.Sort(want)
	slices.Sort(seen.idle)
	if got := slices.Compact(seen.idle); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("asked for tokens unused for %q, want %q", got, want)
	}
}

// asked notes what it is asked.
type asked struct {
	client
	idle []string
}

func (a *asked) Tokens(ctx context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	a.idle = append(a.idle, strings.Join(q.Filters["idle"], " "))
	return a.client.Tokens(ctx, q)
}

// TestASlowUserIsShown: a question that is open when the next refresh comes is not
// replaced, or a server that is slower than the refresh would never be heard.
func TestASlowUserIsShown(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("j")
	d.hold = true
	d.press("<enter>")
	question := d.held
	d.held = nil
	for range 3 {
		d.tick(2 * refreshEvery)
	}
	d.held = question // only the first is ever answered
	d.release()
	d.want("known as  ")
	if s := d.screen().(*userTokens); len(s.who.Days) == 0 {
		t.Errorf("the answer was dropped:\n%s", d.View())
	}
}

// slowFacts takes half a second to tell about a user, by the clock of the driver.
type slowFacts struct {
	*fake
	d      *driver
	err    error // of User
	asked  int   // User
	given  int   // of these, how often the question was given up before it was sent
	counts int
}

func (s *slowFacts) User(ctx context.Context, uid string) (api.UserDetail, error) {
	s.asked++
	if ctx.Err() != nil {
		s.given++
		return api.UserDetail{}, ctx.Err()
	}
	s.d.clock = s.d.clock.Add(500 * time.Millisecond)
	u, err := s.fake.User(ctx, uid)
	return u, cmp.Or(s.err, err)
}

func (s *slowFacts) TokenCount(ctx context.Context, q api.TokenQuery) (api.Count, error) {
	s.counts += btoi(ctx.Err() == nil)
	return s.fake.TokenCount(ctx, q)
}

func (s *slowFacts) DisableUser(_ context.Context, uid string) error {
	s.users[slices.IndexFunc(s.users, func(u api.User) bool { return u.UID == uid })].State = api.StateDisabled
	return nil
}

// TestAChangedUserIsShown: a refresh that somebody or a change asks for does not wait, and
// outdates the open question; one that nobody asked for waits as long as a slow answer costs.
func TestAChangedUserIsShown(t *testing.T) {
	s := &slowFacts{fake: people()}
	s.d = drive(t, s, Options{})
	d := s.d
	d.press("j<enter>")
	d.want("Users > alice@example.com   active")
	asked := s.asked
	for range 8 {
		d.tick(time.Second)
	}
	if s.asked != asked {
		t.Errorf("asked %d times within 8 s about what takes 0.5 s", s.asked-asked)
	}
	open := d.screen().(*userTokens).askUser()()
	d.press("ly")
	d.want("Locked alice@example.com.", "Users > alice@example.com   disabled")
	d.deliver(open)
	d.want("Users > alice@example.com   disabled")
	d.press("l")
	d.want("Unlock alice@example.com?")
	d.press("<esc>")

	s.err = &api.Error{Status: 503, Message: "The disk is full"}
	asked = s.asked
	d.press("r")
	s.err = nil
	s.users[1].State = api.StateActive
	for range 30 {
		d.tick(time.Second)
	}
	d.want("Users > alice@example.com   active")
	if n := s.asked - asked; n < 2 || n > 4 {
		t.Errorf("asked %d times in 30 s about what takes 0.5 s", n)
	}

	var out bytes.Buffer
	s = &slowFacts{fake: people(), d: &driver{clock: noon}}
	in := &typist{lines: []string{"users", "show 2", "lock", "y", "unlock"}, wait: func() { s.d.clock = s.d.clock.Add(box.Glance) }, out: &out}
	m := newMachine(t.Context(), s, Options{Now: func() time.Time { return s.d.clock }, Out: &out})
	if err := plain.Run(t.Context(), in, &out, m); err != nil || !strings.Contains(out.String(), "Unlock alice@example.com?") {
		t.Errorf("without a screen, it says %v\n%s", err, out.String())
	}
}

// TestWhatNobodySeesIsNotAsked: the facts of a user whose row the cursor has left, and how
// many revoked tokens a listing leaves out that fills the screen.
func TestWhatNobodySeesIsNotAsked(t *testing.T) {
	s := &slowFacts{fake: people()}
	s.d = drive(t, s, Options{})
	d := s.d
	d.send(tea.WindowSizeMsg{Width: 140, Height: 30})
	d.hold = true
	d.press("j")
	d.tick(paneAfter)
	d.press("j")
	d.release()
	if s.asked != 1 || s.given != 1 {
		t.Errorf("asked %d times about a row that the cursor has left, gave up %d", s.asked, s.given)
	}
	for _, n := range []int{10, 100} {
		s := &slowFacts{fake: many(n)}
		s.d = drive(t, s, Options{})
		s.d.press("2")
		s.counts = 0
		s.d.press("r")
		if want := 1 + btoi(n == 10); s.counts != want { // of the listing, and of the revoked
			t.Errorf("%d tokens: counted %d times, want %d", n, s.counts, want)
		}
	}
}

// knownWell tells of a user all that the server may know.
type knownWell struct{ *fake }

func (k knownWell) User(ctx context.Context, uid string) (api.UserDetail, error) {
	u, err := k.fake.User(ctx, uid)
	u.LoginDelay = &api.LoginDelay{Failures: 7, Until: noon.Add(time.Hour).UnixMilli()}
	u.Sessions = []api.Session{{LastUsed: before(time.Minute)}}
	for range 5 {
		u.Rechecks = append(u.Rechecks, api.Asked{Source: "github", Asked: before(time.Minute)})
	}
	return u, err
}

// TestFactsLeaveRoom: in the smallest terminal, what is known of a user leaves room for the
// row that keys act on, or for the words that there is none.
func TestFactsLeaveRoom(t *testing.T) {
	f := people()
	d := drive(t, knownWell{f}, Options{Offline: true})
	d.press("j<enter>")
	d.want("known as", "logins", "sessions", "asked", "used   ")
	d.send(tea.WindowSizeMsg{Width: minWidth, Height: minHeight})
	for range 3 {
		name, _ := d.screen().name()
		d.want("OFFLINE", "known as", " >", f.tokens[slices.IndexFunc(f.tokens, func(t api.Token) bool { return t.ID == name })].Name)
		d.press("j")
	}
	d.press("/nothing<enter>")
	d.want("No token of this user matches nothing")
}
