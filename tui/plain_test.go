package tui

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/exp/golden"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/box"
	"gatehouse/tui/plain"
)

// typist is an input from which a line comes at a time, and takes a while to come.
type typist struct {
	lines []string
	wait  func()
	out   io.Writer // what is typed is seen, as on a terminal
	rest  []byte
}

func (r *typist) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		if len(r.lines) == 0 {
			return 0, io.EOF
		}
		r.wait()
		r.rest = []byte(r.lines[0] + "\n")
		r.lines = r.lines[1:]
		r.out.Write(r.rest)
	}
	n := copy(b[:1], r.rest) // no further than this line
	r.rest = r.rest[n:]
	return n, nil
}

// converse types the lines, each so long after the one before.
func converse(t *testing.T, c client, o Options, every time.Duration, lines ...string) string {
	t.Helper()
	var out bytes.Buffer
	at := noon
	o.Now, o.Out = func() time.Time { return at }, &out
	m := newMachine(t.Context(), c, o)
	in := &typist{lines: lines, wait: func() { at = at.Add(every) }, out: &out}
	must.Do(t, plain.Run(t.Context(), in, &out, m))
	return out.String()
}

// TestPlain is a conversation that goes to every screen and asks every question.
func TestPlain(t *testing.T) {
	got := converse(t, people(), Options{Version: "v1"}, time.Second, strings.Split(`help
list
show 2
back
tokens alice
show 1
back
filter
mark 1-2,4
revoke 3
unmark
revoke
revoke 1
n
revoke 1
y
revoke all
tokens alice
revoke all
4
revoke all
2
review never
review ends 7d
review nonsense
users
sort
reverse
lock 2
y
lock 1

unlock 4
y
password 3
y
lift 2
n
new carol@example.com Carol
id 2
events by:root
show 1
status
more
users
export x.sh
frob "\x1b[2J
99
quit
users`, "\n")...)
	golden.RequireEqual(t, []byte(got))
}

// TestPlainRevokes is the table of what revokes and what does not.
func TestPlainRevokes(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		lines string
		want  int // tokens revoked
	}{
		{"y", box.Glance, "tokens|revoke 1|y", 1},
		{"too soon to be an answer, as from a pipe or a paste", 0, "tokens|revoke 1|y", 0},
		{"yes", box.Glance, "tokens|revoke 1|yes", 0},
		{"nothing", box.Glance, "tokens|revoke 1|", 0},
		{"the end of the input", box.Glance, "tokens|revoke 1", 0},
		{"no number of a row", box.Glance, "tokens|revoke|y", 0},
		{"a row that is not there", box.Glance, "tokens|revoke 99|y", 0},
		{"marked", box.Glance, "tokens|mark 1-3|revoke|y", 3},
		{"marked, but named another", box.Glance, "tokens|mark 1-3|revoke 5|y", 0},
		{"in use: y", box.Glance, "users|revoke 2|y", 0},
		{"in use: the number", box.Glance, "users|revoke 2|3", 3},
		{"in use: another number", box.Glance, "users|revoke 2|4", 0},
		{"in use: a longer number", box.Glance, "users|revoke 2|33", 0},
		{"all, without a filter", box.Glance, "tokens|revoke all|10|y", 0},
		{"all of a filter", box.Glance, "tokens alice|revoke all|3", 3},
		{"all of a filter: y", box.Glance, "tokens alice|revoke all|y", 0},
		{"words after an answer are no keys", box.Glance, "tokens|revoke 1|Ry|y", 0},
	} {
		f := people()
		out := converse(t, f, Options{}, c.every, strings.Split(c.lines, "|")...)
		got := 0
		for _, ch := range f.changes {
			got += len(strings.Fields(ch)) - 1
		}
		if got != c.want {
			t.Errorf("%s: revoked %d, want %d: %q\n%s", c.name, got, c.want, f.changes, out)
		}
	}
}

// TestPlainNumbers: a number means the row that was listed with it, not what has come in
// its place since.
func TestPlainNumbers(t *testing.T) {
	f := people()
	out := converse(t, f, Options{}, box.Glance, "tokens", "revoke 1", "y", "revoke 1", "y", "revoke 2", "y")
	if len(f.changes) != 2 || !strings.Contains(f.changes[1], "012c624232") || !strings.Contains(out, `There is no row "1", or no longer.`) {
		t.Errorf("changed %q\n%s", f.changes, out)
	}
	f = people()
	out = converse(t, f, Options{}, box.Glance, "users", "unlock 2", "y", "lock 4", "y")
	if len(f.changes) > 0 || !strings.Contains(out, "The user is active.") || !strings.Contains(out, "The user is disabled.") {
		t.Errorf("changed %q\n%s", f.changes, out)
	}
}

// TestPlainMayNot: with --read-only, or as a role that may not, nothing changes.
func TestPlainMayNot(t *testing.T) {
	for _, readOnly := range []bool{true, false} {
		f := people()
		f.status.Role = api.Auditor
		out := converse(t, f, Options{ReadOnly: readOnly}, box.Glance, "users", "lock 2", "y", "lift 2", "y", "password 2", "y", "new x@y.z", "tokens", "revoke 1", "y", "mark 1", "revoke", "y")
		if len(f.changes) > 0 {
			t.Errorf("changed %q\n%s", f.changes, out)
		}
		want := "not as auditor: it needs the role operator"
		if readOnly {
			want = "There is no revoke here."
		}
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// TestPlainOnlySaysWhatCanBeRead: no control, no character that turns or hides text.
func TestPlainOnlySaysWhatCanBeRead(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		f := people()
		f.status.Actor = "a\x1b]0;x\x07\u202e"
		out := converse(t, f, Options{ASCII: ascii}, box.Glance, "users", "show 5", "show 1", "back", "back", "revoke 5", "n", "tokens", "filter \u202eevil\x1b[31m", "events", "show 1", "id 1", "status", "frob\x1b[2J\u202e", "show \u009b1")
		typed := false
		for l := range strings.Lines(out) {
			_, echo, ok := strings.Cut(l, "> ")
			typed = ok && strings.TrimSpace(echo) != ""
			for _, r := range l {
				if !typed && r != '\n' && !unicode.IsGraphic(r) {
					t.Errorf("%+q", l)
				}
			}
		}
	}
}

// TestPlainFilterRefused says what is wrong with a filter.
func TestPlainFilterRefused(t *testing.T) {
	out := converse(t, refusing{people()}, Options{}, time.Second, "tokens idle:x", "filter ci")
	if n := strings.Count(out, `! Idle: "x" is not a span of time`); n != 1 {
		t.Errorf("it says %d times what is wrong:\n%s", n, out)
	}
}

// TestPlainExport writes a file, and never over another.
func TestPlainExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	out := converse(t, people(), Options{}, box.Glance, "tokens", "export "+path, "filter cave", "export "+path, "y")
	got, _ := os.ReadFile(path)
	if n := strings.Count(string(got), "\n"); n != 11 || !strings.Contains(out, "there is such a file already") {
		t.Errorf("%d lines\n%s", n, out)
	}
}

// TestPlainHasEveryAction: what a key does on the screen, a word does here, unless it is
// about the screen itself.
func TestPlainHasEveryAction(t *testing.T) {
	words := map[string]string{
		"enter": "show 1", "/": "filter a", "s": "sort", "S": "reverse", "space": "mark 1", "a": "mark 1-2", "A": "mark all", "R": "revoke 1", "u": "user 1",
		"l": "lock 1", "U": "lift 1", "P": "password 1", "n": "new a@example.com", "Y": "id 1", "e": "export x.sh", "r": "refresh", "o": "older", "?": "help",
		"pgdown": "more", "pgup": "less", "esc": "back", "1": "users", "2": "tokens", "3": "review", "4": "events", "5": "status", "tab": "review never", "shift+tab": "review 30d", "q": "quit",
	}
	screenOnly := []string{"j", "k", "g", "G", "v", "m", "y", "p", "ctrl+p"}
	for _, b := range bindings() {
		k := b.keys[0]
		if words[k] == "" && !slices.Contains(screenOnly, k) {
			t.Errorf("%s (%s) has no word", k, b.help)
		}
	}
	for k, line := range words {
		if out := converse(t, people(), Options{}, box.Glance, line, "n"); strings.Contains(strings.SplitN(out, "> ", 2)[1], `no word "`+strings.Fields(line)[0]) {
			t.Errorf("%s: %s\n%s", k, line, out)
		}
	}
}

// TestPlainShowKeepsTheListing: the words of the help, in their order. The rows of the
// listing keep their numbers while a token is shown.
func TestPlainShowKeepsTheListing(t *testing.T) {
	f := people()
	out := converse(t, f, Options{}, box.Glance, "tokens alice", "show 2", "mark 1-2", "revoke", "n", "show 1", "show 3", "revoke 3", "unmark", "mark all", "mark 1", "tokens")
	for _, want := range []string{"2 marked.", "Revoke 2 tokens for good?", "2 rows are marked, and revoke is about those", "All 3 that match are marked: unmark first", "filter: alice; filter alone lists all again"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if len(f.changes) > 0 {
		t.Errorf("changed %q", f.changes)
	}
}

// TestPlainMore: each row is listed once, also on a last page that is short, and then it
// says that there are no more.
func TestPlainMore(t *testing.T) {
	for _, n := range []int{20, 45, 60, 450} {
		lines := []string{"tokens"}
		for range n/plainRows + 1 {
			lines = append(lines, "more")
		}
		out := converse(t, many(n), Options{}, box.Glance, lines...)
		f := many(n)
		for _, tk := range f.tokens {
			if got := strings.Count(out, tk.ID); got != 1 {
				t.Fatalf("%d rows: %s is listed %d times", n, tk.ID, got)
			}
		}
		if !strings.Contains(out, "There are no more.") {
			t.Errorf("%d rows: it does not say where they end", n)
		}
	}
}

// TestAWholeTokenIsNotKept: of a token that is pasted where a name is looked for, only the
// id stays.
func TestAWholeTokenIsNotKept(t *testing.T) {
	whole := id(1) + strings.Repeat("0123456789abcdef", 15)[:228]
	for _, keys := range []string{"2/", "1<ctrl+p>", "4/"} {
		d := drive(t, people(), Options{})
		d.press(keys)
		d.paste("user:ada " + whole + " x")
		d.send(tea.WindowSizeMsg{Width: 400, Height: 30})
		d.want("user:ada " + id(1) + " x")
		d.wantNot(whole[28:])
	}
	d := drive(t, people(), Options{})
	d.press("2/")
	d.merged(whole)
	d.want("/ "+id(1)+"_", "1 token matches")
}

// TestSpaceAfterAllTakesOneOut: what A marked can be marked one by one from there on.
func TestSpaceAfterAllTakesOneOut(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("2/alice<enter>A ")
	d.want("one by one")
	d.press("R")
	d.want("Revoke 2 tokens for good?")
	d = drive(t, many(3000), Options{})
	d.press("2/user<enter>A R")
	d.want("Revoke all 3,000 tokens that match user")
}

// TestAnErrorInTheFilterIsReadable: what to do is at the end of what is wrong, and seen.
func TestAnErrorInTheFilterIsReadable(t *testing.T) {
	_, c := real(t, 2, 4)
	d := drive(t, unfollowed{c}, Options{})
	for _, size := range []tea.WindowSizeMsg{{Width: 60, Height: 12}, {Width: 120, Height: 35}} {
		d.send(size)
		d.press("2<esc>/from:x.y")
		d.want("2001:db8::/32")
		d.press("<esc>")
	}
}

// TestARemovedUser is said to be removed, in the pane and on the page.
func TestARemovedUser(t *testing.T) {
	_, c := real(t, 2, 4)
	d := drive(t, unfollowed{c}, Options{})
	d.run(d.push(newUserTokens(d.model, api.User{UID: "gone@example.com"})))
	d.want("This user was removed")
}
