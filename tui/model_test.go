package tui

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/listing"
)

// changes returns what was changed so far.
func (d *driver) changes() []string { return d.client.(*fake).changes }

// TestConfirmation is the table of what revokes and what does not.
func TestConfirmation(t *testing.T) {
	esc := tea.KeyMsg{Type: tea.KeyEsc}
	enter := tea.KeyMsg{Type: tea.KeyEnter}
	runes := func(s string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s)} }
	paste := func(s string) tea.KeyMsg { return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(s), Paste: true} }
	for _, c := range []struct {
		name  string
		open  string        // keys that lead to the row
		every time.Duration // between the messages
		msgs  []tea.KeyMsg
		want  int // tokens revoked
	}{
		{"R then y", "2", box.Glance, []tea.KeyMsg{runes("R"), runes("y")}, 1},
		{"R then enter", "2", box.Glance, []tea.KeyMsg{runes("R"), enter, runes("y")}, 0},
		{"R then esc", "2", box.Glance, []tea.KeyMsg{runes("R"), esc, runes("y")}, 0},
		{"R then n", "2", box.Glance, []tea.KeyMsg{runes("R"), runes("n"), runes("y")}, 0},
		{"R twice", "2", box.Glance, []tea.KeyMsg{runes("R"), runes("R"), runes("y")}, 0},
		{"R held", "2", box.Glance, []tea.KeyMsg{runes("RRRR"), runes("R"), runes("RRR"), runes("y")}, 0},
		{"R held, box left open, then y", "2", box.Glance, []tea.KeyMsg{runes("RRR"), runes("y")}, 1},
		{"Y", "2", box.Glance, []tea.KeyMsg{runes("R"), runes("Y")}, 0},
		{"alt+y", "2", box.Glance, []tea.KeyMsg{runes("R"), {Type: tea.KeyRunes, Runes: []rune("y"), Alt: true}}, 0},
		{"merged Ry", "2", box.Glance, []tea.KeyMsg{runes("Ry")}, 0},
		{"y held", "2", box.Glance, []tea.KeyMsg{runes("R"), runes("yyyy")}, 0},
		{"y pasted", "2", box.Glance, []tea.KeyMsg{runes("R"), paste("y")}, 0},
		{"pasted, then y", "2", box.Glance, []tea.KeyMsg{runes("R"), paste("x"), runes("y")}, 0},
		{"Ry pasted", "2", box.Glance, []tea.KeyMsg{paste("R"), paste("y"), paste("Ry\r")}, 0},
		{"space", "2", box.Glance, []tea.KeyMsg{runes("R"), {Type: tea.KeySpace, Runes: []rune(" ")}}, 0},
		{"y too soon to be an answer", "2", box.Glance - 1, []tea.KeyMsg{runes("R"), runes("y")}, 0},
		{"y held, key by key", "2", 33 * time.Millisecond, []tea.KeyMsg{runes("y"), runes("y"), runes("R"), runes("y"), runes("y"), runes("y"), runes("y"), runes("y"), runes("y"), runes("y")}, 0},
		{"in use: the number, too soon", "j", time.Millisecond, []tea.KeyMsg{runes("R"), runes("3"), enter, runes("3"), enter}, 0},
		{"in use: y", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("y"), enter}, 0},
		{"in use: enter", "j", box.Glance, []tea.KeyMsg{runes("R"), enter}, 0},
		{"in use: the number", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("3"), enter}, 3},
		{"in use: another number", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("2"), enter}, 0},
		{"in use: number pasted", "j", box.Glance, []tea.KeyMsg{runes("R"), paste("3"), enter}, 0},
		{"in use: number in the message of R", "j", box.Glance, []tea.KeyMsg{runes("R3"), enter}, 0},
		{"in use: number and y", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("3"), runes("y")}, 0},
		{"in use: corrected number", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("4"), {Type: tea.KeyBackspace}, runes("3"), enter}, 3},
		{"in use: number held", "j", box.Glance, []tea.KeyMsg{runes("R"), runes("33"), enter}, 0},
		{"not yet looked up", "2", box.Glance, []tea.KeyMsg{runes("R"), esc, runes("y")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := drive(t, people(), Options{})
			d.press(c.open)
			for _, msg := range c.msgs {
				d.clock = d.clock.Add(c.every)
				d.send(msg)
			}
			got := 0
			for _, ch := range d.changes() {
				got += len(strings.Fields(ch)) - 1
			}
			if got != c.want {
				t.Errorf("revoked %d, want %d: %q\n%s", got, c.want, d.changes(), d.View())
			}
		})
	}
}

func TestNothingConfirmsWhileTheTokensAreLookedUp(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("2")
	d.hold = true
	d.press("R")
	d.want("looking up")
	d.press("y")
	d.release()
	if d.box != nil || len(d.changes()) > 0 {
		t.Errorf("changed %q", d.changes())
	}
}

func TestAboveTwentyTheNumberIsTyped(t *testing.T) {
	for n, want := range map[int]string{20: "y revoke 20 tokens", 21: "Type 21, then enter"} {
		d := drive(t, many(100), Options{})
		d.press("2" + strings.Repeat(" ", n) + "R")
		d.want(want)
	}
}

// TestWhatIsInUseIsKnownFresh revokes from rows that are older than a pause.
func TestWhatIsInUseIsKnownFresh(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("2jjp")
	for i := range f.tokens {
		if f.tokens[i].Name == "forty-thieves" {
			f.tokens[i].LastUsed = before(time.Minute)
		}
	}
	d.press("R")
	d.want("IN USE", "Type 1, then enter")
}

func TestATerminalWithoutASizeIsDrawn(t *testing.T) {
	d := drive(t, people(), Options{})
	d.send(tea.WindowSizeMsg{})
	d.want("alice@example.com", "q quit")
}

func TestOfflineNothingIsSaidOfAServer(t *testing.T) {
	f := people()
	f.status.Directory, f.status.Providers, f.status.Certificate = nil, nil, api.Certificate{}
	for offline, says := range map[bool]bool{true: false, false: true} {
		d := drive(t, f, Options{Offline: offline})
		d.press("5")
		d.want("last backup")
		if got := strings.Contains(d.View(), "speaks http") && strings.Contains(d.View(), "users are local"); got != says {
			t.Errorf("offline %v:\n%s", offline, d.View())
		}
	}
}

func TestReadOnlyHasNoKeyThatChanges(t *testing.T) {
	d := drive(t, people(), Options{ReadOnly: true})
	for _, keys := range []string{"R", "l", "U", "n", "P", "2R", "3R", "1<enter>R", "l", "P", "<enter>R"} {
		d.press(keys)
		if d.box != nil {
			t.Errorf("%s opens\n%s", keys, d.View())
		}
	}
	d.press("<esc><esc>?")
	d.wantNot("revoke", "lock", "password")
}

func TestHeldKey(t *testing.T) {
	for _, n := range []int{1, 4, 256} { // keys in one message
		d := drive(t, many(10_000), Options{})
		d.blind, d.hold = true, true // the server is slower than the key
		for range 2000 / n {
			d.merged(strings.Repeat("j", n))
		}
		for range 2000 % n {
			d.press("j")
		}
		for len(d.held) > 0 {
			d.next()
		}
		if u, _ := d.screen().user(); u.UID != "user0002000@example.com" {
			t.Errorf("%d in a message: 2000 held keys lead to %q", n, u.UID)
		}
	}
}

// deliver sends a message, or the messages of a batch.
func (d *driver) deliver(msg tea.Msg) {
	if batch, ok := msg.(tea.BatchMsg); ok {
		for _, c := range batch {
			if c != nil {
				d.deliver(c())
			}
		}
		return
	}
	if msg != nil {
		d.send(msg)
	}
}

func TestWindowIsBoundedBothWays(t *testing.T) {
	d := drive(t, many(5000), Options{})
	d.blind = true
	l := &d.screen().(*users).list
	at := func(want int) {
		t.Helper()
		u, _ := l.Current()
		if u.UID != fmt.Sprintf("user%07d@example.com", want) || len(l.Rows()) > listing.WindowRows {
			t.Errorf("at %s, with %d rows; want row %d", u.UID, len(l.Rows()), want)
		}
	}
	for range 3000 {
		d.press("j")
	}
	at(3000)
	for range 2950 {
		d.press("k")
	}
	at(50)
	d.press("G")
	at(4999)
	d.press("kk")
	at(4997)
	for range 2000 {
		d.press("k")
	}
	at(2997)
	d.press("<pgdown>")
	at(2997 + l.Height() - 1)
	d.press("g")
	at(0)
	d.press("kkk")
	at(0)
}

func TestRefreshKeepsTheRow(t *testing.T) {
	f := many(500)
	d := drive(t, f, Options{})
	d.press(strings.Repeat("j", 40))
	_, line := d.screen().(*users).list.Visible(d.screen().(*users).list.Height())
	f.users = append([]api.User{{UID: "aaa@example.com"}, {UID: "bbb@example.com"}}, f.users...)
	d.tick(time.Second)
	d.tick(time.Second)
	l := &d.screen().(*users).list
	_, now := l.Visible(l.Height())
	if u, _ := l.Current(); u.UID != "user0000040@example.com" || now != line {
		t.Errorf("the refresh moves the cursor to %s, line %d of %d", u.UID, now, line)
	}
	asked := f.asked
	d.press("p")
	for range 10 {
		d.tick(time.Second)
	}
	if f.asked != asked {
		t.Errorf("%d questions during a pause", f.asked-asked)
	}
}

func TestLateAnswerIsDropped(t *testing.T) {
	d := drive(t, people(), Options{})
	d.hold = true
	d.press("/a")
	older := d.held
	d.held = nil
	d.press("lic")
	d.release()
	d.want("alice@example.com", "1 user matches")
	for _, c := range older {
		d.deliver(c())
	}
	d.want("alice@example.com", "1 user matches")
	d.wantNot("alina@example.com")
}

func TestFilter(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("/")
	d.paste("al\x1bi\n")
	d.want("/ ali_", "4 users match")
	d.press("q<down>")
	d.want("/ aliq_", "0 users match")
	d.press("<backspace><enter>j")
	d.want("/ ali ", " >   alice@example.com")
	d.press("<esc>")
	d.wantNot(" / al")
	d.want("evil@example.com")
	d.press("2/zo")
	d.want("1 token matches", "reader")
	d.wantNot("cave")
	d.press("<enter>r<esc>")
	d.want("cave")
}

func TestSpinnerComesLateAndOldRowsStay(t *testing.T) {
	d := drive(t, people(), Options{})
	d.timed = nil
	d.hold = true
	d.press("r")
	d.want("alice@example.com")
	d.wantNot("loading")
	d.tick(listing.SlowAfter)
	d.want("alice@example.com", "loading")
	d.release()
	d.wantNot("loading")
}

func TestConnectionLostAndFound(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	f.err = &api.UnreachableError{Socket: "/run/admin.sock", Err: errors.New("connection refused")}
	for range 20 {
		d.tick(time.Second)
	}
	d.want("CONNECTION LOST, next try in", "/run/admin.sock", "alice@example.com")
	f.err = nil
	f.users[0].UID = "after@example.com"
	for range 16 {
		d.tick(time.Second)
	}
	d.wantNot("CONNECTION LOST")
	d.want("after@example.com")
}

func TestBack(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("j<enter>")
	d.want("Users > alice@example.com", "laptop")
	d.press(" <enter>")
	d.want("Token 01", "addresses")
	d.press("<esc>")
	d.want("1 marked")
	d.press("<esc>")
	d.wantNot("marked")
	d.want("Users > alice")
	d.press("<esc>")
	d.want(" >   alice@example.com")
	d.press("<esc>q")
	if !d.quit {
		t.Error("q does not quit")
	}
}

func TestMarksSurviveAndAreRevoked(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("2 j ") // forty-thieves and alina's
	d.want("2 marked")
	d.press("/evil")
	d.tick(time.Second)
	d.press("<enter>R")
	d.want("Revoke 2 tokens for good?", "forty-thieves")
	d.press("y")
	d.want("Revoked 2 tokens.")
	if len(f.changes) != 1 || len(strings.Fields(f.changes[0])) != 3 {
		t.Errorf("changed %q", f.changes)
	}
	d.tick(noticeFor)
	d.wantNot("marked")
}

func TestMarkShownMarksWhatIsOnTheScreen(t *testing.T) {
	d := drive(t, many(500), Options{})
	d.press("2a")
	d.want("23 marked")
	d.press("<pgdown>a")
	d.want("45 marked")
}

func TestStaleForgetsTheRevoked(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("3")
	d.want("forty-thieves", "[90d]")
	d.press("jRy")
	d.want("Revoked 1 token.")
	d.wantNot("forty-thieves")
	d.press("1<enter>")
	d.want("Users > ali.baba", "forty-thieves", "revoked")
}

func TestBulkRevocationStopsCleanly(t *testing.T) {
	f := many(250)
	d := drive(t, f, Options{})
	d.press("2" + strings.Repeat(" ", 250) + "R250")
	d.hold = true
	d.press("<enter>")
	d.want("0 of 250", "esc stops")
	d.press("q<enter>y<esc>")
	d.want("stopping")
	d.release()
	d.want("Stopped: revoked 64 tokens, left 186.")
	if len(f.changes) != 1 {
		t.Errorf("%d batches", len(f.changes))
	}
	d.press("R186<enter>")
	d.want("Revoked 186 tokens.")
}

func TestUsers(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("jl")
	d.want("Lock alice@example.com?", "All tokens and all sessions stop")
	d.press("y")
	d.want("Locked alice@example.com.")
	d.press("jj<ctrl+p>lock the")
	d.want("l   gatehouse user enable UID")
	d.press("<esc>k<ctrl+p>lock the")
	d.want("l   gatehouse user disable UID")
	d.press("<esc>jl")
	d.want("Unlock alistair@example.com?")
	d.press("y")
	d.press("U")
	d.want("Let alistair@example.com log in again?")
	d.press("y")
	d.want("alistair@example.com may log in again.")
	d.press("P")
	d.want("alistair@example.com has no password here: the source is ldap.")
	d.press("kP<enter>Py")
	d.want("The new password of alina@example.com:", "made-password")
	d.press("q<enter> R")
	d.want("made-password") // only esc closes it
	d.press("y")
	d.press("<esc>")
	d.wantNot("made-password")
	d.press("n")
	d.paste("bob@example.com\n")
	d.press("<enter>Bob Builder<enter>")
	d.want("The new password of bob@example.com:")
	want := "disable alice@example.com, enable alistair@example.com, unlock alistair@example.com, password alina@example.com, add bob@example.com Bob Builder"
	if got := strings.Join(f.changes, ", "); got != want {
		t.Errorf("changed %s\nwant %s", got, want)
	}
	if len(d.sent) != 1 || d.sent[0] != "made-password" {
		t.Errorf("sent %q to the clipboard", d.sent)
	}
}

func TestMergedKeysDoNotLock(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.merged("ly")
	d.merged("Py")
	d.press("l")
	d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("y")}) // held since before
	d.press("l<enter>lxl<esc>")
	if len(f.changes) > 0 {
		t.Errorf("changed %q", f.changes)
	}
}

// TestHugeListingIsNotLoaded opens a listing that has no end.
func TestHugeListingIsNotLoaded(t *testing.T) {
	f := &endless{}
	d := drive(t, f, Options{})
	d.press("2jjjj")
	d.press("/none")
	if f.rows > 5*listing.PageRows {
		t.Errorf("%d rows were read", f.rows)
	}
}

type endless struct {
	fake
	rows int
}

func (f *endless) Tokens(_ context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	return func(yield func(api.Token, error) bool) {
		for n := 0; q.Limit == 0 || n < q.Limit; n++ {
			f.rows++
			if !yield(api.Token{ID: fmt.Sprint(q.After, n), UID: "a@example.com", State: api.StateLive, ExpiresOn: api.Never}, nil) {
				return
			}
		}
	}
}
