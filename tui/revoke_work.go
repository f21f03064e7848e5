package tui

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
)

// workBox shows the progress of a revocation, and can stop it.
type workBox struct {
	m        *model
	id       int
	r        revocation.Target
	total    int
	progress api.Progress
	start    time.Time
	stopping bool
	stopped  bool // the server was told
	cancel   context.CancelFunc
	next     func() (api.Progress, error, bool)
	release  func()
}

// workMsg is the next report of progress, if there is more.
type workMsg struct {
	box      int
	progress api.Progress
	err      error
	more     bool
}

// stopMsg is the answer to the request to stop.
type stopMsg struct {
	box int
	err error
}

func newWork(m *model, id int, d revocation.Doomed, cancel context.CancelFunc, rows iter.Seq2[api.Progress, error]) *workBox {
	b := &workBox{m: m, id: id, r: d.Target, total: d.Total, start: m.now(), cancel: cancel}
	b.next, b.release = iter.Pull2(rows)
	return b
}

// step waits for the next report. Only one command waits at a time.
func (b *workBox) step() tea.Cmd {
	next, id := b.next, b.id
	return func() tea.Msg {
		p, err, more := next()
		return workMsg{id, p, err, more}
	}
}

func (b *workBox) key(k key) tea.Cmd {
	if k.name != "esc" {
		return nil
	}
	b.stopping = true
	return b.tell()
}

// tell tells the server to stop its job, once the job's name is known.
func (b *workBox) tell() tea.Cmd {
	if b.stopped || b.progress.Job == "" {
		return nil
	}
	b.stopped = true
	m, id, job := b.m, b.id, b.progress.Job
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
		defer cancel()
		return stopMsg{id, m.client.StopRevocation(ctx, job)}
	}
}

func (b *workBox) answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case stopMsg:
		if msg.box == b.id && msg.err != nil {
			b.stopping, b.stopped = false, false // esc asks again
			b.m.complain(msg.err)
		}
	case workMsg:
		if msg.box == b.id {
			return b.heard(msg)
		}
	}
	return nil
}

// heard takes a report, and goes on or ends.
func (b *workBox) heard(w workMsg) tea.Cmd {
	b.m.heard(w.err)
	if w.more && w.err == nil {
		b.progress = w.progress
		b.total = max(b.progress.Total, b.progress.Revoked)
		switch {
		case b.progress.Done:
		case !b.stopping:
			return b.step()
		case b.progress.Job != "":
			return tea.Batch(b.tell(), b.step())
		}
	}
	return b.end(w)
}

// end closes the box and counts what was done.
func (b *workBox) end(w workMsg) tea.Cmd {
	b.release()
	b.cancel()
	b.m.close()
	if conflicting(w.err) && b.r.Match != nil && !b.stopping { // others match by now than were agreed to
		again, cmd := newRevokeBox(b.m, b.r)
		b.m.box = again
		b.m.complain(w.err)
		return cmd
	}
	p := b.progress
	switch left := b.total - p.Revoked; {
	case unreachable(w.err): // it could not report what it did last
		b.m.complain(fmt.Errorf("revoked %s or more; then: %s", say.Count(p.Revoked, "token"), explain(w.err)))
	case w.err != nil:
		b.m.complain(fmt.Errorf("revoked %s; then: %s", say.Count(p.Revoked, "token"), explain(w.err)))
	case !w.more && !p.Done:
		b.m.complain(fmt.Errorf("revoked %s or more; then the connection was lost", say.Count(p.Revoked, "token")))
	case p.Stopped || !p.Done:
		b.m.say(fmt.Sprintf("Stopped: revoked %s, left %s.", say.Count(p.Revoked, "token"), say.Number(left)))
	default:
		b.m.say("Revoked " + say.Count(p.Revoked, "token") + ".")
		if r, ok := b.m.screen().(rows); ok {
			r.unmark()
		}
	}
	return tea.Batch(b.m.askStatus(), b.m.screen().refresh())
}

func (b *workBox) body(width, height int) []string {
	done := b.progress.Revoked
	bar := min(width-4, 60)
	full := bar * done / max(b.total, 1)
	left := ""
	if done > 0 {
		each := b.m.now().Sub(b.start) / time.Duration(done)
		left = "   " + say.Span(each*time.Duration(b.total-done)) + " left"
	}
	hint := "esc stops; what is revoked stays revoked"
	if b.stopping {
		hint = "stopping …"
	}
	return []string{
		" " + b.m.st.title.Render("Revoking"),
		"",
		" [" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "]",
		fmt.Sprintf(" %s of %s%s", say.Number(done), say.Number(b.total), left),
		"",
		" " + hint,
	}
}
