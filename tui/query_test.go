package tui

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/api"
)

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

// TestQueryLine: tab shows how it completes, and an error in a filter is shown under the
// line until the filter is right.
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
	rows, _ := l.Visible(l.Height())
	id := rows[0].ID
	from, _, ok := d.screen().(*tokens).shown()
	all := d.client.(*fake).tokensOf(api.TokenQuery{})
	if !ok || l.FromStart() || all[from-1].ID != id {
		t.Errorf("row %d (%v) is %s, the screen begins with %s", from, ok, all[from-1].ID, id)
	}
}
