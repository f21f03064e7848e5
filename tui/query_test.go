package tui

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/api"
)

func TestComplete(t *testing.T) {
	for _, c := range []struct{ line, want, hint string }{
		{"us", "use", "user  used-after  used-before"},
		{"use", "use", "user  used-after  used-before"},
		{"used-a", "used-after:", ""},
		{"nightly NEV", "nightly never-used ", ""},
		{"never-used state:", "never-used state:", "live  expired  suspended  revoked"},
		{"state:li", "state:live ", "state: in this state"},
		{"idle:", "idle:", "idle: unused for at least so long"},
		{"idle:9", "idle:9", "idle: unused"},
		{"nightly", "nightly", ""},
		{"colour:", "colour:", ""},
	} {
		got, hint := complete(c.line, api.TokenFilters)
		if got != c.want || !strings.HasPrefix(hint, c.hint) || c.hint == "" && hint != "" {
			t.Errorf("%q: got %q, %q, want %q, %q", c.line, got, hint, c.want, c.hint)
		}
	}
	if _, hint := complete("", api.UserFilters); hint != "search  prefix  source  state  locked" {
		t.Errorf("got %q: with nothing typed, it lists all", hint)
	}
}

// refusing refuses a filter, as the server does.
type refusing struct{ *fake }

func (r refusing) Tokens(ctx context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	if strings.Contains(q.Words, "idle:x") {
		return func(yield func(api.Token, error) bool) {
			yield(api.Token{}, &api.Error{Status: http.StatusBadRequest, Message: `Idle: "x" is not a span of time`})
		}
	}
	return r.fake.Tokens(ctx, q)
}

// TestQueryLine: tab completes under the eyes, and what is wrong with a filter is said
// under the line, until it is right.
func TestQueryLine(t *testing.T) {
	d := drive(t, refusing{people()}, Options{})
	d.press("2/us<tab>")
	d.want("/ use_", "   user  used-after  used-before")
	d.press("d-a<tab>")
	d.want("/ used-after:_")
	d.wantNot("   user  used-after")
	for range len("used-after:") {
		d.press("<backspace>")
	}
	d.press("idle:x")
	d.want("/ idle:x_", `   ! Idle: "x" is not a span of time`)
	if strings.Count(d.View(), "is not a span") != 1 {
		t.Errorf("it is said more than once:\n%s", d.View())
	}
	d.press("<backspace><backspace><backspace><backspace><backspace><backspace>ci")
	d.want("1 token matches")
	d.wantNot("is not a span")
	d.press("<esc>")
	d.want("10 tokens · rows 1-10 · last used, oldest first")
}

// TestPosition: where the screen is in a long listing, from both ends.
func TestPosition(t *testing.T) {
	d := drive(t, many(20_000), Options{})
	d.press("2")
	d.want("20,000 tokens · rows 1-", "┃")
	d.press("G")
	d.want("-20,000 · last used")
	d.press("g")
	d.want("rows 1-")
	for range 60 {
		d.press("<pgdown>")
	}
	l := &d.screen().(*tokens).list
	id := l.win.rows[l.top].ID
	from, _, ok := d.screen().(*tokens).shown()
	all := d.client.(*fake).tokensOf(api.TokenQuery{})
	if !ok || l.win.head == "" || all[from-1].ID != id {
		t.Errorf("row %d (%v) is %s, the screen begins with %s", from, ok, all[from-1].ID, id)
	}
}
