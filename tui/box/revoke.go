package box

import (
	"context"
	"fmt"
	"strconv"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// Revoke lists what will die and asks. It first asks the server what the tokens are
// now: a row on the screen may be as old as a pause, and what is in use must be known.
// Until the answer comes, any key cancels. After that, any key that is not part of the
// confirmation cancels.
type Revoke struct {
	host     Host
	id       int
	cancel   context.CancelFunc
	checking bool
	asked    time.Time // since when it can be answered
	err      error
	revocation.Doomed
	Typed  string // of their number
	before int    // how many were revoked before it asked again
}

// doomedMsg is the answer that a Revoke waits for.
type doomedMsg struct {
	box int
	revocation.Doomed
	err error
}

// NewRevoke returns the box that asks before a revocation, and its question to the server.
func NewRevoke(h Host, r revocation.Target) (*Revoke, tea.Cmd) {
	ctx, cancel := context.WithTimeout(h.Context(), listing.Patience)
	b := &Revoke{host: h, id: h.Next(), cancel: cancel, checking: true, Doomed: revocation.Doomed{Target: r}}
	return b, func() tea.Msg {
		defer cancel()
		d, err := revocation.LookUp(ctx, h.Server(), r)
		return doomedMsg{b.id, d, err}
	}
}

func (b *Revoke) Answer(msg tea.Msg) tea.Cmd {
	d, ok := msg.(doomedMsg)
	if !ok || d.box != b.id {
		return nil
	}
	b.host.Heard(d.err)
	now := b.host.Now()
	b.checking, b.asked, b.err, b.Doomed = false, now, d.err, d.Doomed
	b.Arrange(now)
	return nil
}

func (b *Revoke) Key(k Key) tea.Cmd {
	ready := !b.checking && b.err == nil && b.Total > 0 && seen(b.host, b.asked)
	number := strconv.Itoa(b.Total)
	switch {
	case !ready || k.Paste:
	case !b.MustType():
		if confirms(k) {
			return b.revoke()
		}
	case k.Name == "enter" && b.Typed == number:
		return b.revoke()
	case k.Name == "backspace" && b.Typed != "":
		b.Typed = b.Typed[:len(b.Typed)-1]
		return nil
	case len(k.Text) == 1 && k.Text[0] >= '0' && k.Text[0] <= '9' && len(b.Typed) < len(number):
		b.Typed += k.Text
		return nil
	}
	b.cancel()
	b.host.Close()
	if b.before > 0 {
		b.host.Say("Cancelled: " + say.Count(b.before, "token") + " revoked before, and no more.")
	} else {
		b.host.Say("Cancelled: nothing was revoked.")
	}
	return nil
}

func (b *Revoke) revoke() tea.Cmd {
	ctx, cancel := context.WithCancel(b.host.Context())
	w := newWork(b.host, b.id, b.Doomed, cancel, b.Doomed.Revoke(ctx, b.host.Server()))
	b.host.Open(w)
	return w.step()
}

// Checking reports whether the server has not yet said what the tokens are now.
func (b *Revoke) Checking() bool { return b.checking }

func (b *Revoke) Kind() plain.Kind {
	switch {
	case b.err != nil || b.Total == 0:
		return plain.Shown
	case b.MustType():
		return plain.Text
	}
	return plain.YesOrNo
}

func (b *Revoke) Body(width, height int) []string {
	out := []string{" " + b.host.Paint().Title(text.Cut(b.Question(!b.checking && b.err == nil), width-1))}
	switch {
	case b.checking:
		return append(out, "", " looking up when they were last used …   any key cancels")
	case b.err != nil:
		return append(out, "", " "+b.host.Paint().Warn("! "+text.Cut(say.Error(b.err), width-4)), "", " any key closes")
	case b.Total == 0:
		return append(out, "", " There is none, or no longer.", "", " any key closes")
	}
	out = append(out, b.Lines(b.host.Now(), width, max(height-len(out)-2, 1), b.host.Paint().Heads, b.host.Paint().Warn)...)
	if b.MustType() {
		why := ""
		if b.InUse > 0 {
			why = b.Used() + " IN USE. "
		}
		return append(out, "",
			b.host.Paint().Warn(text.Cut(fmt.Sprintf(" %sType %d, then enter, to revoke: %s_    esc cancels", why, b.Total, b.Typed), width)))
	}
	return append(out, "", " > [ Cancel ]    y revoke "+say.Count(b.Total, "token"))
}
