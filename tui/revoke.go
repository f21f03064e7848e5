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
	"gatehouse/tui/text"
)

const (
	typedAbove  = 20  // tokens: more, and their number is typed
	revokeBatch = 100 // tokens revoked by one call
)

// revocation names what is to be revoked: of these users, these tokens, or all
// of theirs when ids is nil.
type revocation struct {
	whose string
	uids  []string
	ids   map[string]bool
}

// revokeBox lists what will die and asks. It first asks the server what the
// tokens are now: a row on the screen may be as old as a pause, and what is in
// use must be known. Until then, and for any key but the confirmation, it
// cancels.
type revokeBox struct {
	m        *model
	id       int
	r        revocation
	cancel   context.CancelFunc
	checking bool
	err      error
	tokens   []api.Token // in use first, then the latest used
	used     int
	typed    string
}

// doomedMsg is the list of tokens that a revokeBox asks about.
type doomedMsg struct {
	box    int
	tokens []api.Token
	err    error
}

func newRevokeBox(m *model, r revocation) (*revokeBox, tea.Cmd) {
	m.boxes++
	ctx, cancel := context.WithTimeout(m.ctx, patience)
	b := &revokeBox{m: m, id: m.boxes, r: r, cancel: cancel, checking: true}
	return b, func() tea.Msg {
		defer cancel()
		ts, err := doomed(ctx, m.client, r)
		return doomedMsg{b.id, ts, err}
	}
}

func doomed(ctx context.Context, c client, r revocation) ([]api.Token, error) {
	var out []api.Token
	for _, uid := range r.uids {
		for t, err := range c.Tokens(ctx, api.TokenQuery{User: uid}) {
			if err != nil {
				return nil, err
			}
			if t.State != api.StateRevoked && (r.ids == nil || r.ids[t.ID]) {
				out = append(out, t)
			}
		}
	}
	return out, nil
}

func (b *revokeBox) answer(msg tea.Msg) tea.Cmd {
	d, ok := msg.(doomedMsg)
	if !ok || d.box != b.id {
		return nil
	}
	b.m.heard(d.err)
	b.checking, b.err, b.tokens = false, d.err, d.tokens
	now := b.m.now()
	for _, t := range b.tokens {
		if inUse(now, t) {
			b.used++
		}
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
func (b *revokeBox) mustType() bool { return len(b.tokens) > typedAbove || b.used > 0 }

func (b *revokeBox) key(k key) tea.Cmd {
	ready := !b.checking && b.err == nil && len(b.tokens) > 0
	number := strconv.Itoa(len(b.tokens))
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
	ids := make([]string, len(b.tokens))
	for i, t := range b.tokens {
		ids[i] = t.ID
	}
	w := &workBox{m: b.m, id: b.id, ids: ids, start: b.m.now()}
	b.m.box = w
	return w.next()
}

func (b *revokeBox) body(width, height int) []string {
	out := []string{" " + b.m.st.title.Render(text.Cut(b.question(), width-1))}
	switch {
	case b.checking:
		return append(out, "", " looking up when they were last used …   any key cancels")
	case b.err != nil:
		return append(out, "", " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)), "", " any key closes")
	case len(b.tokens) == 0:
		return append(out, "", " Nothing to revoke: gone, or revoked already.", "", " any key closes")
	}
	out = append(out, b.list(width, max(height-len(out)-2, 1))...)
	if b.mustType() {
		why := ""
		if b.used > 0 {
			why = fmt.Sprintf("%s IN USE. ", number(b.used))
		}
		return append(out, "",
			b.m.st.warn.Render(text.Cut(fmt.Sprintf(" %sType %d, then enter, to revoke: %s_    esc cancels", why, len(b.tokens), b.typed), width)))
	}
	return append(out, "", " > [ Cancel ]    y revoke "+count(len(b.tokens), "token"))
}

// question asks, with the number ahead of whatever long name may be cut.
func (b *revokeBox) question() string {
	n := count(len(b.tokens), "token")
	switch {
	case b.r.ids == nil && (b.checking || b.err != nil):
		return "Revoke all tokens of " + b.r.whose + " for good?"
	case b.r.ids == nil:
		return "Revoke all " + n + " of " + b.r.whose + " for good?"
	case b.checking || b.err != nil:
		n = count(len(b.r.ids), "token")
	}
	return "Revoke " + n + " for good?"
}

// list shows what will die in at most height lines.
func (b *revokeBox) list(width, height int) []string {
	now := b.m.now()
	cols := []column[api.Token]{
		{head: "LAST USED", min: 12, max: 12, cell: func(t api.Token) string { return used(now, t) }},
		{head: "", min: 6, max: 6, cell: func(t api.Token) string {
			if inUse(now, t) {
				return "IN USE"
			}
			return ""
		}},
		{head: "ID", min: 10, max: 28, late: true, whole: true, cell: func(t api.Token) string { return t.ID }},
		{head: "NAME", min: 8, max: 32, cell: func(t api.Token) string { return dash(t.Name) }},
		{head: "FROM", min: 10, max: 39, cell: func(t api.Token) string { return dash(t.LastAddress) }},
		{head: "USER", min: 16, max: 48, cell: func(t api.Token) string { return t.UID }},
	}
	w := widths(cols, width)
	shown := b.tokens
	if len(shown) > height-1 {
		shown = shown[:max(height-2, 0)]
	}
	out := []string{b.m.st.heads.Render(heads(cols, w))}
	for _, t := range shown {
		s := line(cols, w, t, false, false, "")
		if inUse(now, t) {
			s = b.m.st.warn.Render(s)
		}
		out = append(out, s)
	}
	if more := len(b.tokens) - len(shown); more > 0 {
		out = append(out, fmt.Sprintf("     … and %s more", number(more)))
	}
	return out
}

// workBox revokes, batch by batch, and can be stopped between two.
type workBox struct {
	m             *model
	id            int
	ids           []string
	done, revoked int
	start         time.Time
	stopping      bool
}

// workMsg is the answer to one batch.
type workMsg struct {
	box, asked, revoked int
	err                 error
}

func (b *workBox) next() tea.Cmd {
	ids := b.ids[b.done:min(b.done+revokeBatch, len(b.ids))]
	m, id := b.m, b.id
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, patience)
		defer cancel()
		n, err := m.client.Revoke(ctx, api.Revocation{IDs: ids})
		return workMsg{id, len(ids), n.Revoked, err}
	}
}

func (b *workBox) key(k key) tea.Cmd {
	if k.name == "esc" {
		b.stopping = true
	}
	return nil
}

func (b *workBox) answer(msg tea.Msg) tea.Cmd {
	w, ok := msg.(workMsg)
	if !ok || w.box != b.id {
		return nil
	}
	b.m.heard(w.err)
	if w.err == nil {
		b.done, b.revoked = b.done+w.asked, b.revoked+w.revoked
		if b.done < len(b.ids) && !b.stopping {
			return b.next()
		}
	}
	b.m.close()
	switch left := len(b.ids) - b.done; {
	case w.err != nil:
		b.m.complain(fmt.Errorf("revoked %s; then: %s", count(b.revoked, "token"), explain(w.err)))
	case left > 0:
		b.m.say(fmt.Sprintf("Stopped: revoked %s, left %s.", count(b.revoked, "token"), number(left)))
	default:
		b.m.say("Revoked " + count(b.revoked, "token") + ".")
		if r, ok := b.m.screen().(rows); ok {
			r.unmark()
		}
	}
	return b.m.screen().refresh()
}

func (b *workBox) body(width, height int) []string {
	total := len(b.ids)
	bar := min(width-4, 60)
	full := bar * b.done / max(total, 1)
	left := ""
	if b.done > 0 {
		left = "   " + span(b.m.now().Sub(b.start)/time.Duration(b.done)*time.Duration(total-b.done)) + " left"
	}
	hint := "esc stops; what is revoked stays revoked"
	if b.stopping {
		hint = "stopping …"
	}
	return []string{
		" " + b.m.st.title.Render("Revoking"),
		"",
		" [" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "]",
		fmt.Sprintf(" %s of %s%s", number(b.done), number(total), left),
		"",
		" " + hint,
	}
}
