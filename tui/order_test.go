package tui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
)

func TestSort(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("j ")
	for _, c := range []struct{ keys, header, top string }{
		{"s", "last used, oldest first", "名前@example.jp"},
		{"S", "last used, latest first", "alice@example.com"},
		{"s", "created, oldest first", "ali.baba@corp.example"},
		{"S", "created, newest first", "evil@example.com"},
		{"s", "tokens, fewest first", "alina@example.com"},
		{"S", "tokens, most first", "alice@example.com"},
		{"s", "name", "ali.baba@corp.example"},
		{"S", "name, from the end", "名前@example.jp"},
		{"/al", "name, from the end", "alistair@example.com"},
		{"<esc><esc>", "name, from the end", "名前@example.jp"},
		{"S2", "last used, oldest first", ""},
		{"s", "created, oldest first", ""},
		{"1", "name", "ali.baba@corp.example"},
	} {
		d.press(c.keys)
		d.want(c.header)
		if u, _ := d.screen().user(); u.UID != c.top {
			t.Errorf("%s: the first is %q, want %q", c.header, u.UID, c.top)
		}
		if c.keys == "s" && c.top != "" && d.screen().place() == onUsers && len(d.screen().(*users).marks) != 1 {
			t.Errorf("%s: the mark is gone", c.header)
		}
	}
}

// TestPagesInEveryOrder walks down a listing and up again, page by page.
func TestPagesInEveryOrder(t *testing.T) {
	f := many(3000)
	for i := range f.users {
		f.users[i].Tokens = i % 5
		f.users[i].Created += int64(i % 100)
	}
	d := drive(t, f, Options{})
	d.blind = true
	l := &d.screen().(*users).list
	for range 8 {
		var down, up []string
		walk := func(key string, into *[]string) {
			for range f.users {
				u, _ := l.Current()
				*into = append(*into, u.UID)
				d.press(key)
			}
		}
		walk("j", &down)
		walk("k", &up)
		slices.Reverse(up)
		var want []string
		v := d.screen().(*users).view()
		for u := range f.Users(t.Context(), api.UserQuery{Order: v.Order, Reverse: v.Reverse}) {
			want = append(want, u.UID)
		}
		if !slices.Equal(down, want) {
			t.Errorf("%+v: not all rows on the way down", v)
		}
		if !slices.Equal(up, want) {
			t.Errorf("%+v: not all rows on the way up", v)
		}
		if v.Reverse {
			d.press("s")
		} else {
			d.press("S")
		}
	}
}

// TestEndsAreAPageAway jumps through a long listing without reading it.
func TestEndsAreAPageAway(t *testing.T) {
	f := many(20_000)
	d := drive(t, f, Options{})
	f.read = 0
	for _, c := range []struct{ keys, want string }{
		{"G", "user0019999"}, {"k", "user0019998"}, {"<pgup><pgdown>", "user0019998"}, {"g", "user0000000"}, {"Gg", "user0000000"}, {"GGkk", "user0019997"}, {"gjG", "user0019999"},
	} {
		d.press(c.keys)
		if u, _ := d.screen().user(); !strings.HasPrefix(u.UID, c.want) {
			t.Errorf("%s leads to %s, want %s", c.keys, u.UID, c.want)
		}
	}
	if f.read > 20*listing.PageRows {
		t.Errorf("%d rows were read", f.read)
	}
}

func TestRowsThatMoveAreShownOnce(t *testing.T) {
	f := many(1500)
	d := drive(t, f, Options{})
	d.blind = true
	d.press("2" + strings.Repeat("j", 250))
	f.Lock()
	f.tokens[120].LastUsed = noon.UnixMilli() // from the second page to the end
	f.Unlock()
	d.press(strings.Repeat("j", 700) + "G")
	l := &d.screen().(*tokens).list
	seen := map[string]bool{}
	for range 1499 {
		row, _ := l.Current()
		if seen[row.ID] {
			t.Fatalf("%s is shown twice", row.ID)
		}
		seen[row.ID] = true
		d.press("k")
	}
	if !seen[f.tokens[120].ID] {
		t.Error("the row that moved is missing")
	}
}

func TestCountOfAFilter(t *testing.T) {
	d := drive(t, many(20_000), Options{})
	d.press("/user000")
	d.want("10,000 users match")
	d.hold = true
	d.press("2")
	older := d.held
	d.held = nil
	d.press("x")
	d.release()
	d.want("0 users match")
	for _, c := range older {
		d.deliver(c())
	}
	d.want("0 users match")
	d.press("<esc>")
	d.wantNot("match")
}

func TestReviewPresets(t *testing.T) {
	d := drive(t, many(5000), Options{})
	d.press("3")
	for _, want := range []string{"[90d]", "[180d]", "[1y]", "[never]"} {
		d.want(want)
		n := 0
		s := d.screen().(*review)
		for range d.client.Tokens(t.Context(), api.TokenQuery{Filters: s.filters()}) {
			n++
		}
		if n == 1 || n > 0 && n == 5000 {
			t.Errorf("%s: %d tokens: the test tests nothing", want, n)
		}
		d.want(say.Count(n, "token"))
		d.press("<tab>")
	}
	d.want("[ends 7d]")
	d.press("<tab><tab>")
	d.want("[unlimited]")
	d.press("<tab>")
	d.want("[unverified]")
	d.press("<tab><tab><tab><tab><tab><tab><shift+tab>")
	d.want("[90d]")
}

// TestReviewOfNetworks: the preset about new networks shows events of that kind alone, old
// and new, and opens their tokens and users.
func TestReviewOfNetworks(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("3<shift+tab><shift+tab>")
	d.want("[networks]", "No token was used in a network that was new for it.")
	f.events = append(f.events,
		api.Event{Sequence: 7, Time: noon.UnixMilli(), Action: "token.network", UID: "alice@example.com", Token: id(2), Address: "198.51.100.7"},
		api.Event{Sequence: 8, Time: noon.UnixMilli(), Actor: "root", Action: "user.add", UID: "new@example.com"})
	d.press("r")
	d.want("1 event", "198.51.100.7")
	d.wantNot("new@example.com", "user.suspend")
	d.press("/203.0<enter>")
	d.want("No first use in a network matches 203.0")
	d.press("<esc><enter>")
	d.want("Event: token.network")
	d.press("<enter>")
	d.want("Token " + id(2))
	d.press("<esc>u")
	d.want("Users > alice@example.com")
	d.press("<esc>RylaA<tab>")
	d.want("[30d]")
	if len(f.changes) > 0 {
		t.Errorf("a key of another screen did something: %q", f.changes)
	}
}

func TestRevokeAllThatMatch(t *testing.T) {
	for _, c := range []struct {
		keys string
		want int
	}{
		{"AR5<enter>", 5},
		{"ARy", 0},
		{"AR<enter>", 0},
		{"AR4<enter>", 0},
		{"AR5<esc>", 0},
		{"AR5y", 0},
		{"/alice<enter>AR2<enter>", 2},
		{":alice<enter>AR2<enter>", 2},
		{"AA5<enter>", 0},
		{"A<esc>R5<enter>", 0},
		{"A/alice<enter>R5<enter>", 0},
		{"A<tab>R5<enter>", 0},
		{"/alice<enter>AR5<enter>", 0},
		{"/nobody<enter>AR0<enter>", 0},
		{"<tab><tab>AR1<enter>", 1},
	} {
		f := people()
		d := drive(t, f, Options{})
		d.press("3" + c.keys)
		got := 0
		for _, tk := range f.tokens {
			if tk.State == api.StateRevoked {
				got++
			}
		}
		if got--; got != c.want { // one was revoked before
			t.Errorf("%s revoked %d, want %d\n%s", c.keys, got, c.want, d.View())
		}
	}
	d := drive(t, people(), Options{})
	d.press("3AR")
	d.paste("5")
	d.press("<enter>3AR")
	d.merged("5\r")
	d.press("3")
	d.merged("AR5")
	d.press("<enter>")
	if len(d.changes()) > 0 {
		t.Errorf("changed %q", d.changes())
	}
	d = drive(t, people(), Options{ReadOnly: true})
	if d.press("3AR"); d.box != nil {
		t.Error("R opens a box in read-only")
	}
}

// TestAnotherNumberIsAskedForAgain has a token go stale while the number of those that
// were stale before is typed.
func TestAnotherNumberIsAskedForAgain(t *testing.T) {
	for filter, number := range map[string]int{"": 5, "/alice<enter>": 2} {
		f := people()
		d := drive(t, f, Options{})
		d.press("3" + filter + "AR" + fmt.Sprint(number))
		f.Lock()
		f.tokens = append(f.tokens, api.Token{ID: id(99), UID: "alice@example.com", LastUsed: before(100 * 24 * time.Hour), State: api.StateLive, ExpiresOn: api.Never})
		f.Unlock()
		d.press("<enter>")
		d.want("Nothing was revoked", fmt.Sprintf("Type %d, then enter", number+1))
		if len(f.changes) > 0 {
			t.Errorf("%s: changed %q", filter, f.changes)
		}
		d.press(fmt.Sprintf("%d<enter>", number+1))
		d.want("Revoked " + say.Count(number+1, "token"))
	}
}

// TestAnotherTokenIsAskedForAgain: if a token of users is made between the question about
// them and the answer, nothing is revoked, and it asks again, about that one too.
func TestAnotherTokenIsAskedForAgain(t *testing.T) {
	for keys, number := range map[string]int{
		"/alice<enter>R":                  3, // the user under the cursor; one token is in use
		"/al<enter>aR":                    7, // those marked
		"/alin<enter>R":                   1, // for which a y is enough
		"/ali<enter><enter>R":             1, // no user's, but the token's on the page of a user
		"/alice<enter><enter>/a<enter>AR": 3,
	} {
		f := people()
		d := drive(t, f, Options{})
		d.press(keys)
		b, ok := d.box.(*box.Revoke)
		if !ok || b.Total != number {
			t.Errorf("%s: it asks about %+v", keys, d.box)
			continue
		}
		answer := "y"
		if b.MustType() {
			answer = fmt.Sprintf("%d<enter>", number)
		}
		uid := b.Tokens[0].UID
		f.Lock()
		f.tokens = append(f.tokens, api.Token{ID: id(99), UID: uid, Name: "a", LastUsed: before(time.Hour), State: api.StateLive, ExpiresOn: api.Never})
		f.Unlock()
		d.press(answer)
		if b.IDs != nil {
			if len(f.changes) != 1 {
				t.Errorf("%s: changed %q", keys, f.changes)
			}
			continue
		}
		if d.want("Nothing was revoked"); len(f.changes) > 0 {
			t.Errorf("%s: changed %q", keys, f.changes)
		}
		if b, ok := d.box.(*box.Revoke); !ok || b.Total != number+1 {
			t.Errorf("%s: it does not ask again: %+v", keys, d.box)
		}
	}
}

// TestEscStopsBetweenUsers: the job of one user may be over before the server is told to stop
// it. The next one is then not begun.
func TestEscStopsBetweenUsers(t *testing.T) {
	for _, answerFirst := range []bool{false, true} { // that the job is over, or its last report
		f := people()
		d := drive(t, f, Options{})
		d.press("/al<enter>aR")
		b := d.box.(*box.Revoke)
		d.hold = true
		d.press(fmt.Sprintf("%d<enter>", b.Total))
		for d.box != nil && revokedBy(d.box) == 0 {
			d.next()
		}
		d.press("<esc>")
		if answerFirst {
			slices.Reverse(d.held)
		}
		for d.box != nil {
			d.next()
		}
		d.release()
		live := 0
		for _, tok := range f.tokens {
			if tok.State == api.StateLive {
				live++
			}
		}
		if d.want("Stopped: revoked "); live <= len(f.tokens)-b.Total {
			t.Errorf("%d of %d tokens live, after %d were named", live, len(f.tokens), b.Total)
		}
	}
}

// revokedBy is how many tokens the box has reported.
func revokedBy(b box.Box) int {
	w, ok := b.(*box.Work)
	if !ok {
		return 0
	}
	n, _ := w.Progress()
	return n
}

func TestBulkIsCountedWhenItFails(t *testing.T) {
	for want, err := range map[string]error{
		"revoked 1,000 tokens; then: The disk is full":                   &api.Error{Status: 503, Message: "The disk is full"},
		"revoked 1,000 tokens or more; then: no server answers on /sock": &api.UnreachableError{Socket: "/sock", Err: io.ErrUnexpectedEOF},
	} {
		f := many(3000)
		d := drive(t, f, Options{})
		d.press("3<shift+tab>AR" + fmt.Sprint(len(f.tokensOf(api.TokenQuery{Filters: api.Where("idle", "30d")}))))
		d.hold = true
		d.press("<enter>")
		d.next()
		d.next()
		f.err = err
		d.release()
		d.want(want)
	}
}

func TestEventsAreFiltered(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("4/ali")
	d.want("3 events match", "token.revoke")
	d.wantNot("user.suspend")
	d.press("<enter><enter>")
	d.want("Event: token.revoke", "enter open")
	d.press("<enter>")
	d.want("Token "+id(2), "EVENTS", "token.create", "by alice@example.com from 192.0.2.17")
	d.press("<esc><esc>")
	d.want("login.refused", "refused")
	d.press("G")
	if e, _ := d.screen().(*events).current(); e.Sequence != 1 {
		t.Errorf("the last row is event %d", e.Sequence)
	}
	d.press("g")
	if e, _ := d.screen().(*events).current(); e.Sequence != 6 {
		t.Errorf("the first row is event %d", e.Sequence)
	}
}

// TestEventsStayInPlace takes new events while somebody reads old ones.
func TestEventsStayInPlace(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	s := d.tabs[3].(*events)
	d.press("4jj")
	f.events = append(f.events, api.Event{Sequence: 7, Time: noon.UnixMilli(), Actor: "root", Action: "user.add", UID: "new@example.com"})
	s.came(f.events)
	if e, _ := s.current(); e.Sequence != 4 {
		t.Errorf("the cursor is on event %d", e.Sequence)
	}
	d.want("new@example.com")
	d.press("g")
	f.events = append(f.events, api.Event{Sequence: 8, Time: noon.UnixMilli(), Actor: "root", Action: "user.add", UID: "newer@example.com"})
	s.came(f.events)
	if e, _ := s.current(); e.Sequence != 8 {
		t.Errorf("at the top, the cursor is on event %d", e.Sequence)
	}
	s.came(f.events)
	if n := len(s.list.Rows()); n != 8 {
		t.Errorf("%d rows of 8 events", n)
	}
}
