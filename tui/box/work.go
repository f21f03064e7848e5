package box

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/plain"
	"gatehouse/tui/revocation"
	"gatehouse/tui/say"
)

// Work shows the progress of a revocation, and can stop it.
type Work struct {
	host     Host
	id       int
	r        revocation.Target
	total    int
	progress api.Progress
	start    time.Time
	stopping bool
	told     string // the job that the server was told to stop
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

func newWork(h Host, id int, d revocation.Doomed, cancel context.CancelFunc, rows iter.Seq2[api.Progress, error]) *Work {
	b := &Work{host: h, id: id, r: d.Target, total: d.Total, start: h.Now(), cancel: cancel}
	b.next, b.release = iter.Pull2(rows)
	return b
}

// step waits for the next report. Only one command waits at a time.
func (b *Work) step() tea.Cmd {
	next, id := b.next, b.id
	return func() tea.Msg {
		p, err, more := next()
		return workMsg{id, p, err, more}
	}
}

func (b *Work) Key(k Key) tea.Cmd {
	if k.Name != "esc" {
		return nil
	}
	b.stopping = true
	return b.tell()
}

// tell asks the server to stop its job, once the job's name is known. In batches, and between
// two users, there is no job: heard ends it there.
func (b *Work) tell() tea.Cmd {
	if b.told == b.progress.Job {
		return nil
	}
	b.told = b.progress.Job
	h, id, job := b.host, b.id, b.progress.Job
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(h.Context(), listing.Patience)
		defer cancel()
		return stopMsg{id, h.Server().StopRevocation(ctx, job)}
	}
}

func (b *Work) Answer(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case stopMsg:
		// A job that is not there any more is over. If others follow, heard ends it before them.
		if msg.box == b.id && msg.err != nil && !api.Refused(msg.err, http.StatusNotFound) {
			b.stopping, b.told = false, "" // esc asks again
			b.host.Complain(msg.err)
		}
	case workMsg:
		if msg.box == b.id {
			return b.heard(msg)
		}
	}
	return nil
}

// heard takes a report, and goes on or ends.
func (b *Work) heard(w workMsg) tea.Cmd {
	b.host.Heard(w.err)
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
func (b *Work) end(w workMsg) tea.Cmd {
	b.release()
	b.cancel()
	b.host.Close()
	if api.Refused(w.err, http.StatusConflict) && (b.r.Match != nil || len(b.r.UIDs) > 0) && !b.stopping { // others match by now than were agreed to
		again, cmd := NewRevoke(b.host, b.r)
		again.before = b.progress.Revoked
		b.host.Open(again)
		b.host.Complain(w.err)
		return tea.Batch(cmd, b.host.Revoked())
	}
	p := b.progress
	switch left := b.total - p.Revoked; {
	case say.Unreachable(w.err): // it could not report what it did last
		b.host.Complain(fmt.Errorf("revoked %s or more; then: %s", say.Count(p.Revoked, "token"), say.Error(w.err)))
	case w.err != nil:
		b.host.Complain(fmt.Errorf("revoked %s; then: %s", say.Count(p.Revoked, "token"), say.Error(w.err)))
	case !w.more && !p.Done:
		b.host.Complain(fmt.Errorf("revoked %s or more; then the connection was lost", say.Count(p.Revoked, "token")))
	case p.Stopped || !p.Done:
		b.host.Say(fmt.Sprintf("Stopped: revoked %s, left %s.", say.Count(p.Revoked, "token"), say.Number(left)))
	default:
		b.host.Say("Revoked " + say.Count(p.Revoked, "token") + ".")
		b.host.Unmark()
	}
	return b.host.Revoked()
}

func (b *Work) Kind() plain.Kind { return plain.Shown }

// Progress returns how many tokens are revoked, of how many.
func (b *Work) Progress() (revoked, of int) { return b.progress.Revoked, b.total }

func (b *Work) Body(width, height int) []string {
	done := b.progress.Revoked
	bar := min(width-4, 60)
	full := bar * done / max(b.total, 1)
	left := ""
	if done > 0 {
		each := b.host.Now().Sub(b.start) / time.Duration(done)
		left = "   " + say.Span(each*time.Duration(b.total-done)) + " left"
	}
	hint := "esc stops; what is revoked stays revoked"
	if b.stopping {
		hint = "stopping …"
	}
	return []string{
		" " + b.host.Paint().Title("Revoking"),
		"",
		" [" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "]",
		fmt.Sprintf(" %s of %s%s", say.Number(done), say.Number(b.total), left),
		"",
		" " + hint,
	}
}
