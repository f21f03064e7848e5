package tui

import (
	"context"
	"fmt"
	"strconv"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/tui/listing"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// revokeBox lists what will die and asks. It first asks the server what the tokens are
// now: a row on the screen may be as old as a pause, and what is in use must be known.
// Until the answer comes, any key cancels. After that, any key that is not part of the
// confirmation cancels.
type revokeBox struct {
	m        *model
	id       int
	cancel   context.CancelFunc
	checking bool
	asked    time.Time // since when it can be answered
	err      error
	revocation.Doomed
	typed string
}

// doomedMsg is the answer that a revokeBox waits for.
type doomedMsg struct {
	box int
	revocation.Doomed
	err error
}

func newRevokeBox(m *model, r revocation.Target) (*revokeBox, tea.Cmd) {
	m.boxes++
	ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
	b := &revokeBox{m: m, id: m.boxes, cancel: cancel, checking: true, Doomed: revocation.Doomed{Target: r}}
	return b, func() tea.Msg {
		defer cancel()
		d, err := revocation.LookUp(ctx, m.client, r)
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
	b.checking, b.asked, b.err, b.Doomed = false, now, d.err, d.Doomed
	b.Arrange(now)
	return nil
}

func (b *revokeBox) key(k key) tea.Cmd {
	ready := !b.checking && b.err == nil && b.Total > 0 && b.m.seen(b.asked)
	number := strconv.Itoa(b.Total)
	switch {
	case !ready || k.paste:
	case !b.MustType():
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
	w := newWork(b.m, b.id, b.Doomed, cancel, b.Revoke(ctx, b.m.client))
	b.m.box = w
	return w.step()
}

func (b *revokeBox) body(width, height int) []string {
	out := []string{" " + b.m.st.title.Render(text.Cut(b.Question(!b.checking && b.err == nil), width-1))}
	switch {
	case b.checking:
		return append(out, "", " looking up when they were last used …   any key cancels")
	case b.err != nil:
		return append(out, "", " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)), "", " any key closes")
	case b.Total == 0:
		return append(out, "", " Nothing to revoke: gone, or revoked already.", "", " any key closes")
	}
	out = append(out, b.Lines(b.m.now(), width, max(height-len(out)-2, 1), b.m.st.heads.Render, b.m.st.warn.Render)...)
	if b.MustType() {
		why := ""
		if b.Used > 0 {
			why = fmt.Sprintf("%s IN USE. ", say.Number(b.Used))
		}
		return append(out, "",
			b.m.st.warn.Render(text.Cut(fmt.Sprintf(" %sType %d, then enter, to revoke: %s_    esc cancels", why, b.Total, b.typed), width)))
	}
	return append(out, "", " > [ Cancel ]    y revoke "+say.Count(b.Total, "token"))
}
