package tui

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// typedAbove is how many tokens a y may revoke. For more, their number must be typed.
const typedAbove = 20

// revocation names what is to be revoked: these tokens, or all of these users,
// or all that match.
type revocation struct {
	ids   []string
	uids  []string
	match *match
}

// match is a listing of tokens, and what its tokens are called.
type match struct {
	query api.TokenQuery
	words string
}

// doomed are the tokens that a revocation would revoke, as the server has them now.
type doomed struct {
	tokens []api.Token // of a match, the first few
	total  int
	agreed api.Matching // of a match
}

// revokeBox lists what will die and asks. It first asks the server what the tokens are
// now: a row on the screen may be as old as a pause, and what is in use must be known.
// Until the answer comes, any key cancels. After that, any key that is not part of the
// confirmation cancels.
type revokeBox struct {
	m        *model
	id       int
	r        revocation
	cancel   context.CancelFunc
	checking bool
	asked    time.Time // since when it can be answered
	err      error
	doomed       // in use first, then the latest used
	used     int // of them, in use
	typed    string
}

// doomedMsg is the answer that a revokeBox waits for.
type doomedMsg struct {
	box int
	doomed
	err error
}

func newRevokeBox(m *model, r revocation) (*revokeBox, tea.Cmd) {
	m.boxes++
	ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
	b := &revokeBox{m: m, id: m.boxes, r: r, cancel: cancel, checking: true}
	return b, func() tea.Msg {
		defer cancel()
		d, err := lookUp(ctx, m.client, r)
		return doomedMsg{b.id, d, err}
	}
}

func (b *revokeBox) answer(msg tea.Msg) tea.Cmd {
	d, ok := msg.(doomedMsg)
	if !ok || d.box != b.id {
		return nil
	}
	b.m.heard(d.err)
	now := b.m.now()
	b.checking, b.asked, b.err, b.doomed = false, now, d.err, d.doomed
	for _, t := range b.tokens {
		if say.InUse(now, t) {
			b.used++
		}
	}
	if b.r.match != nil {
		return nil // in the order of the listing
	}
	latest := func(t api.Token) int64 {
		if !t.Used() {
			return 0
		}
		return t.LastUsed
	}
	slices.SortFunc(b.tokens, func(x, y api.Token) int {
		return cmp.Or(cmp.Compare(latest(y), latest(x)), strings.Compare(x.ID, y.ID))
	})
	return nil
}

// mustType reports whether the number is typed instead of y.
func (b *revokeBox) mustType() bool {
	return b.total > typedAbove || b.used > 0 || b.r.match != nil
}

func (b *revokeBox) key(k key) tea.Cmd {
	ready := !b.checking && b.err == nil && b.total > 0 && b.m.seen(b.asked)
	number := strconv.Itoa(b.total)
	switch {
	case !ready || k.paste:
	case !b.mustType():
		if confirms(k) {
			return b.revoke()
		}
	case k.name == "enter" && b.typed == number:
		return b.revoke()
	case k.name == "backspace" && b.typed != "":
		b.typed = b.typed[:len(b.typed)-1]
		return nil
	case len(k.text) == 1 && k.text[0] >= '0' && k.text[0] <= '9' && len(b.typed) < len(number):
		b.typed += k.text
		return nil
	}
	b.cancel()
	b.m.close()
	b.m.say("Cancelled: nothing was revoked.")
	return nil
}

func (b *revokeBox) revoke() tea.Cmd {
	ctx, cancel := context.WithCancel(b.m.ctx)
	w := newWork(b.m, b.id, b.r, b.total, cancel, revoking(ctx, b.m.client, b.r, b.doomed))
	b.m.box = w
	return w.step()
}

func (b *revokeBox) body(width, height int) []string {
	out := []string{" " + b.m.st.title.Render(text.Cut(b.question(), width-1))}
	switch {
	case b.checking:
		return append(out, "", " looking up when they were last used …   any key cancels")
	case b.err != nil:
		return append(out, "", " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)), "", " any key closes")
	case b.total == 0:
		return append(out, "", " Nothing to revoke: gone, or revoked already.", "", " any key closes")
	}
	out = append(out, b.list(width, max(height-len(out)-2, 1))...)
	if b.mustType() {
		why := ""
		if b.used > 0 {
			why = fmt.Sprintf("%s IN USE. ", say.Number(b.used))
		}
		return append(out, "",
			b.m.st.warn.Render(text.Cut(fmt.Sprintf(" %sType %d, then enter, to revoke: %s_    esc cancels", why, b.total, b.typed), width)))
	}
	return append(out, "", " > [ Cancel ]    y revoke "+say.Count(b.total, "token"))
}

// question asks. The number is ahead of the name, which may be too long and be cut.
func (b *revokeBox) question() string {
	n, all := "", ""
	if !b.checking && b.err == nil {
		n = say.Count(b.total, "token")
	}
	switch {
	case b.r.match != nil:
		all = " " + b.r.match.words
	case len(b.r.uids) == 1:
		all = " of " + text.Escape(b.r.uids[0])
	case len(b.r.uids) > 1:
		all = " of " + say.Count(len(b.r.uids), "user")
	case n == "":
		n = say.Count(len(b.r.ids), "token")
	}
	switch {
	case all == "":
		return "Revoke " + n + " for good?"
	case n == "":
		return "Revoke all tokens" + all + " for good?"
	}
	return "Revoke all " + n + all + " for good?"
}

// list shows what will die in at most height lines.
func (b *revokeBox) list(width, height int) []string {
	now := b.m.now()
	cols := []listing.Column[api.Token]{
		{Head: "LAST USED", Min: 12, Max: 12, Cell: func(t api.Token) string { return say.Used(now, t) }},
		{Head: "", Min: 6, Max: 6, Cell: func(t api.Token) string {
			if say.InUse(now, t) {
				return "IN USE"
			}
			return ""
		}},
		{Head: "ID", Min: 10, Max: 28, Late: true, Whole: true, Cell: func(t api.Token) string { return t.ID }},
		{Head: "NAME", Min: 8, Max: 32, Cell: func(t api.Token) string { return say.Dash(t.Name) }},
		{Head: "FROM", Min: 10, Max: 39, Cell: func(t api.Token) string { return say.Dash(t.LastAddress) }},
		{Head: "USER", Min: 16, Max: 48, Cell: func(t api.Token) string { return t.UID }},
	}
	if b.used == 0 {
		cols = slices.Delete(cols, 1, 2)
	}
	w := listing.Widths(cols, width)
	shown := b.tokens
	if len(shown) > height-1 {
		shown = shown[:max(height-2, 0)]
	}
	out := []string{b.m.st.heads.Render(listing.Heads(cols, w))}
	for _, t := range shown {
		s := listing.Line(cols, w, t, false, false, "", nil)
		if say.InUse(now, t) {
			s = b.m.st.warn.Render(s)
		}
		out = append(out, s)
	}
	if more := b.total - len(shown); more > 0 {
		out = append(out, fmt.Sprintf("     … and %s more", say.Number(more)))
	}
	return out
}
