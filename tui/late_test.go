package tui

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
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
