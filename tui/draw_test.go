package tui

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/exp/golden"
	"github.com/muesli/termenv"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/listing"
	"gatehouse/tui/text"
)

// scenes are the states of every screen and box, and the keys that lead there.
var scenes = []struct {
	name  string
	start func(*fake)
	o     Options
	keys  string
	after func(*driver)
}{
	{name: "users"},
	{name: "users, marked", keys: "j j "},
	{name: "users, filtered", keys: "/al"},
	{name: "users, filter without a match", keys: "/nobody<enter>"},
	{name: "users, none", start: func(f *fake) { f.users, f.status.Users, f.status.Tokens = nil, 0, 0 }},
	{name: "users, refused", start: func(f *fake) { f.err = &api.Error{Status: 403, Message: "Only root and gatehouse may do this"} }},
	{name: "users, loading", after: func(d *driver) {
		d.hold = true
		d.press("/z")
		d.tick(listing.SlowAfter)
	}},
	{name: "users, refused later", after: func(d *driver) {
		d.client.(*fake).err = &api.Error{Status: 503, Message: "The disk is full"}
		d.press("r")
	}},
	{name: "connection lost", after: func(d *driver) {
		d.client.(*fake).err = &api.UnreachableError{Socket: "/var/lib/gatehouse/run/admin.sock", Err: errors.New("connect: connection refused")}
		d.press("r")
		d.tick(time.Second)
	}},
	{name: "offline, read-only, other version", o: Options{Offline: true, ReadOnly: true, Version: "v2"}},
	{name: "paused", keys: "p", after: func(d *driver) { d.tick(61 * time.Second) }},
	{name: "a user's tokens", keys: "j<enter>"},
	{name: "a user without tokens", start: func(f *fake) { f.tokens = nil }, keys: "j<enter>"},
	{name: "a user with sessions", keys: "jjjjj<enter>"},
	{name: "a disabled user", keys: "jjj<enter>"},
	{name: "a token", keys: "jjjjj<enter>j<enter>"},
	{name: "tokens", keys: "2"},
	{name: "tokens, filtered", keys: "2/alice"},
	{name: "review", keys: "3"},
	{name: "never used", keys: "3<tab><tab><tab>"},
	{name: "revoke one", keys: "2R"},
	{name: "revoke, one in use", keys: "jR4"},
	{name: "revoke many", start: func(f *fake) { *f = *many(120) }, keys: "2" + strings.Repeat(" ", 35) + "R3"},
	{name: "revoke nothing", keys: "2jjjjjjR"},
	{name: "revoking", start: func(f *fake) { *f = *many(250) }, keys: "2" + strings.Repeat(" ", 240) + "R240", after: func(d *driver) {
		d.clock = d.clock.Add(time.Second)
		d.hold = true
		d.press("<enter>")
		d.next() // the first hundred
		d.clock = d.clock.Add(2 * time.Second)
	}},
	{name: "revoked", keys: "2Ry"},
	{name: "revoke all that match", start: func(f *fake) { *f = *many(2500) }, keys: "3<shift+tab>AR250"},
	{name: "revoke all of a filter", keys: "3/alice<enter>AR"},
	{name: "revoking all", start: func(f *fake) { *f = *many(2500) }, keys: "3<shift+tab>AR2141", after: func(d *driver) {
		d.hold = true
		d.press("<enter>")
		d.clock = d.clock.Add(4 * time.Second)
		d.next() // its name
		d.next() // the first thousand
	}},
	{name: "stopping", start: func(f *fake) { *f = *many(2500) }, keys: "3<shift+tab>AR2141", after: func(d *driver) {
		d.hold = true
		d.press("<enter>")
		d.next()
		d.press("<esc>")
	}},
	{name: "stopped", start: func(f *fake) { *f = *many(2500) }, keys: "3<shift+tab>AR2141", after: func(d *driver) {
		d.hold = true
		d.press("<enter>")
		d.next()
		d.next()
		d.press("<esc>")
		slices.Reverse(d.held) // the wish to stop comes before the second thousand
		d.release()
	}},
	{name: "all marked", keys: "2/alice<enter>A"},
	{name: "users, all marked", keys: "/ali<enter>A"},
	{name: "review, ending soon", keys: "3<tab><tab><tab><tab>"},
	{name: "review, orphaned", start: func(f *fake) {
		f.users = append(f.users, api.User{UID: "nightly@service", Name: "the nightly export", Source: "service", State: api.StateActive, Created: before(time.Hour), Orphaned: true})
	}, keys: "3<shift+tab><shift+tab><shift+tab>"},
	{name: "review, locked out", keys: "3<shift+tab><shift+tab>"},
	{name: "a token under the cursor", keys: "2jjj", after: func(d *driver) { d.tick(paneAfter) }},
	{name: "a user under the cursor", keys: "j", after: func(d *driver) { d.tick(paneAfter) }},
	{name: "palette", keys: "<ctrl+p>"},
	{name: "palette, typed", keys: "<ctrl+p>alice"},
	{name: "palette, nothing", keys: "<ctrl+p>zzzz"},
	{name: "all of a search", keys: "2/alice<enter>AR"},
	{name: "export", keys: "2/alice<enter>e"},
	{name: "export, of a hostile filter", keys: "1/\u202eevil\U0001f469名e<enter>e<tab>"},
	{name: "exporting", start: func(f *fake) { *f = *many(5000) }, keys: "2e", after: func(d *driver) {
		d.hold = true
		d.press("<enter>")
		d.box.(*box.Export).Rows.Store(1200)
		d.clock = d.clock.Add(2 * time.Second)
	}},
	{name: "export, refused", keys: "1e<backspace><enter>"},
	{name: "users, sorted", keys: "sssS"},
	{name: "tokens, sorted", keys: "2s"},
	{name: "events", keys: "4"},
	{name: "events, filtered", keys: "4/login"},
	{name: "events, by filters", keys: "4/by:root action:token<enter>"},
	{name: "an event", keys: "4jj<enter>"},
	{name: "events, none", start: func(f *fake) { f.events = nil }, keys: "4"},
	{name: "events, paused", keys: "4p"},
	{name: "events, the oldest first", keys: "4S"},
	{name: "status", keys: "5"},
	{name: "status, ailing", start: func(f *fake) { f.status = ailing() }, keys: "5"},
	{name: "status, ailing, the end", start: func(f *fake) { f.status = ailing() }, keys: "5G"},
	{name: "status, refused", start: func(f *fake) { f.err = &api.Error{Status: 403, Message: "Only root and gatehouse may do this"} }, keys: "5"},
	{name: "status, idle", start: func(f *fake) {
		f.status = api.Status{Version: "v1", Started: before(time.Minute), Actor: "root", Role: api.Admin}
	}, keys: "5"},
	{name: "lock", keys: "jl"},
	{name: "unlock", keys: "jjjl"},
	{name: "new password asked", keys: "jjP"},
	{name: "new password", keys: "jjPy"},
	{name: "new user", keys: "n"},
	{name: "new service account", keys: "n<right>robot<enter>alice@example.com<enter>"},
	{name: "new user, refused", keys: "nbob<enter>Bob<enter>"},
	{name: "copied", keys: "2y"},
	{name: "to select", keys: "2Y"},
	{name: "help", keys: "?"},
}

// play returns a driver in the scene.
func play(t testing.TB, i, width, height int, profile termenv.Profile) *driver {
	s := scenes[i]
	f := people()
	if s.start != nil {
		s.start(f)
	}
	if s.o.Version == "" {
		s.o.Version = "v1"
	}
	d := drive(t, f, s.o)
	d.blind = true
	r := lipgloss.NewRenderer(nil)
	r.SetColorProfile(profile)
	d.st = newStyles(r)
	d.send(tea.WindowSizeMsg{Width: width, Height: height})
	d.View()
	d.press(s.keys)
	if s.after != nil {
		s.after(d)
	}
	return d
}

// TestGolden draws every screen and every box at four sizes, for a dark and a light
// background, with NO_COLOR and with LANG=C. A file has a screen:
//
//	go test ./tui -run TestGolden -update
//
// writes the files again. Each size has the frame as NO_COLOR shows it, then the colours on
// a dark background, as the columns of each line and the codes of the terminal. What a
// light background and LANG=C show is derived from that, and in full only where it differs.
func TestGolden(t *testing.T) {
	for i, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			var all strings.Builder
			for _, size := range [][2]int{{60, 12}, {80, 24}, {120, 35}, {200, 50}} {
				d := play(t, i, size[0], size[1], termenv.ANSI)
				view := func(p termenv.Profile, dark, ascii bool) string {
					r := lipgloss.NewRenderer(nil)
					r.SetColorProfile(p)
					r.SetHasDarkBackground(dark)
					d.st, d.o.ASCII = newStyles(r), ascii
					return d.View()
				}
				plain, dark := view(termenv.Ascii, true, false), view(termenv.ANSI, true, false)
				if ansi.Strip(dark) != plain {
					t.Errorf("at %v, the colours change the characters:\n%s", size, ansi.Strip(dark))
				}
				fmt.Fprintf(&all, "=== %dx%d, NO_COLOR\n%s--- dark\n%s", size[0], size[1], compact(plain), colours(dark))
				if light := view(termenv.ANSI, false, false); light != dark {
					fmt.Fprintf(&all, "--- light\n%s", colours(light))
				}
				switch c := view(termenv.Ascii, true, true); {
				case size[0] == 80:
					fmt.Fprintf(&all, "--- LANG=C\n%s", compact(c))
				case c != text.ASCII(plain):
					t.Errorf("at %v, LANG=C shows other than ASCII for the same characters", size)
				}
			}
			golden.RequireEqual(t, []byte(all.String()))
		})
	}
}

// colours lists the coloured columns of each line, with their codes. Lines that follow one
// another and have the same are listed once.
func colours(frame string) string {
	var out []string
	sgr := regexp.MustCompile("\x1b\\[([0-9;]*)m")
	from := 0
	for n, l := range strings.Split(frame, "\n") {
		var runs []string
		column, code, last := 0, "", 0
		for _, m := range append(sgr.FindAllStringSubmatchIndex(l, -1), []int{len(l), len(l), len(l), len(l)}) {
			w := text.Width(l[last:m[0]])
			if code != "" && code != "0" && w > 0 {
				runs = append(runs, fmt.Sprintf("%d-%d:%s", column, column+w-1, code))
			}
			column, code, last = column+w, l[m[2]:m[3]], m[1]
		}
		if len(runs) == 0 {
			continue
		}
		line := strings.Join(runs, " ")
		if k := len(out) - 1; k >= 0 && strings.HasSuffix(out[k], "  "+line) && strings.HasPrefix(out[k], fmt.Sprintf("%d-%d  ", from, n-1)) {
			out[k] = fmt.Sprintf("%d-%d  %s", from, n, line)
			continue
		}
		from = n
		out = append(out, fmt.Sprintf("%d-%d  %s", n, n, line))
	}
	return strings.Join(append(out, ""), "\n")
}

// compact leaves out blanks at the ends of lines, and lines that are the same as the one
// before, except for their number.
func compact(frame string) string {
	var out strings.Builder
	before, again := "", 0
	for _, l := range append(strings.Split(frame, "\n"), "\x00") {
		if l = strings.TrimRight(l, " "); l == before {
			again++
			continue
		}
		if again > 0 {
			fmt.Fprintf(&out, "(%d)\n", again)
		}
		if before, again = l, 0; l != "\x00" {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}

// TestASCII: a terminal of another encoding than UTF-8 gets frames of the same shape, in
// characters that it has.
func TestASCII(t *testing.T) {
	for i, s := range scenes {
		for _, profile := range []termenv.Profile{termenv.Ascii, termenv.ANSI} {
			d := play(t, i, 80, 24, profile)
			rich := strings.Split(d.View(), "\n")
			d.o.ASCII = true
			plain := strings.Split(d.View(), "\n")
			if len(plain) != len(rich) {
				t.Fatalf("%s: got %d lines, want %d", s.name, len(plain), len(rich))
			}
			for n, line := range plain {
				if got, want := text.Width(line), text.Width(rich[n]); got != want || strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
					t.Errorf("%s: line %d is %+q, of %d columns, want %d", s.name, n, line, got, want)
				}
			}
		}
	}
}

func TestFramesFit(t *testing.T) {
	for _, size := range [][2]int{{60, 12}, {61, 13}, {79, 24}, {133, 40}, {200, 60}} {
		for i, s := range scenes {
			frame := play(t, i, size[0], size[1], termenv.ANSI).View()
			lines := strings.Split(frame, "\n")
			if len(lines) != size[1] {
				t.Errorf("%s at %v: %d lines", s.name, size, len(lines))
			}
			for _, l := range lines {
				if text.Width(l) > size[0] {
					t.Errorf("%s at %v: %d columns in %q", s.name, size, text.Width(l), l)
				}
			}
			if strings.ContainsAny(frame, "\u202e\u202d\u2066\u009b\a\r\t") || strings.Contains(frame, "\x1b]") || strings.Contains(frame, "\x1b[2J") {
				t.Errorf("%s at %v lets a control through: %q", s.name, size, frame)
			}
		}
	}
}

func TestSixteenColours(t *testing.T) {
	for i, s := range scenes {
		if frame := play(t, i, 100, 30, termenv.TrueColor).View(); strings.Contains(frame, "38;") || strings.Contains(frame, "48;") {
			t.Errorf("%s uses more than sixteen colours", s.name)
		}
	}
}

func TestColumnsStayStraight(t *testing.T) {
	d := drive(t, people(), Options{})
	d.send(tea.WindowSizeMsg{Width: 200, Height: 60})
	d.press("2v")
	var at []int
	for l := range strings.Lines(d.View()) {
		for _, state := range []string{"2023-09", "2024-", "2025-", "2026-"} { // the column CREATED
			if i := strings.Index(l, state); i > 0 {
				at = append(at, text.Width(l[:i]))
				break
			}
		}
	}
	if len(at) != 10 {
		t.Fatalf("%d rows\n%s", len(at), d.View())
	}
	for _, c := range at {
		if c != at[0] {
			t.Fatalf("the columns start at %v\n%s", at, d.View())
		}
	}
}

func TestTooSmall(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.send(tea.WindowSizeMsg{Width: 59, Height: 12})
	d.want("59x12 is too small: 60x12 at least")
	d.press("Ry")
	if d.box != nil || len(f.changes) > 0 {
		t.Error("keys act on a screen that cannot be seen")
	}
	if d.press("q"); !d.quit {
		t.Error("q does not quit")
	}
}

// TestVersionsDiffer: a version that is not known is not another one.
func TestVersionsDiffer(t *testing.T) {
	for _, c := range []struct {
		one, other string
		want       bool
	}{{"v1", "v1", false}, {"v1", "v2", true}, {"v1", "", false}, {"", "v1", false}, {api.NoVersion, "v1", false}, {"v1", api.NoVersion, false}} {
		if got := differ(c.one, c.other); got != c.want {
			t.Errorf("%q and %q: got %v", c.one, c.other, got)
		}
	}
}
