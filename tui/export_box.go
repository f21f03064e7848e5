package tui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// exportEvery is how often the progress of an export is drawn.
const exportEvery = 200 * time.Millisecond

// exported is a listing as it is written to a file.
type exported struct {
	noun, words string // what its rows are, and which of them
	total       int    // if known
	known       bool
	write       func(context.Context, io.Writer, export.Format, *atomic.Int64) error // counts the rows
}

// exported returns all that the filter matches, in the order of the screen.
func (t *table[T]) exported() exported {
	v := t.view()
	e := exported{noun: t.noun, words: t.filter.Value}
	e.total, e.known = t.total()
	all, as := t.all(v), t.as
	e.write = func(ctx context.Context, w io.Writer, f export.Format, n *atomic.Int64) error {
		return as(w, counted(all(ctx), n), f)
	}
	return e
}

func counted[T any](rows iter.Seq2[T, error], n *atomic.Int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			n.Add(1)
			if !yield(row, err) {
				return
			}
		}
	}
}

// writeAs returns a function that writes rows in a format.
func writeAs[T, L any](line func(T) L) func(io.Writer, iter.Seq2[T, error], export.Format) error {
	return func(w io.Writer, rows iter.Seq2[T, error], f export.Format) error {
		if f == export.AsJSON {
			return export.JSON(w, rows, line)
		}
		return export.CSV(w, rows, line)
	}
}

func eventLine(e api.Event) api.Event { return e }

// exportBox asks for the name of a file, and writes it.
type exportBox struct {
	m       *model
	id      int
	what    exported
	path    text.Field
	replace time.Time // since when it is asked whether to replace the file; zero: it is not
	err     error

	rows   *atomic.Int64 // nil: it does not write yet
	start  time.Time
	cancel context.CancelFunc
}

// exportMsg says that the file is written, or why not. If done is not set, it only says that
// it is time to draw the progress.
type exportMsg struct {
	box  int
	done bool
	err  error
}

func exportKey(m *model) tea.Cmd {
	r, ok := m.screen().(rows)
	if !ok {
		return nil
	}
	m.boxes++
	b := &exportBox{m: m, id: m.boxes, what: r.exported()}
	b.path.Value = fmt.Sprintf("gatehouse-%ss-%s.csv", b.what.noun, m.now().Format("20060102-150405"))
	m.box = b
	return nil
}

func (b *exportBox) key(k key) tea.Cmd {
	switch {
	case b.rows != nil:
		if k.name == "esc" {
			b.cancel()
		}
		return nil
	case !b.replace.IsZero():
		yes := confirms(k) && b.m.seen(b.replace)
		b.replace = time.Time{}
		if yes {
			return b.write(true)
		}
		return nil
	}
	switch k.name {
	case "esc":
		b.m.close()
		b.m.say("Cancelled: nothing was written.")
	case "tab":
		b.err = nil
		base, csv := strings.CutSuffix(b.path.Value, string(export.AsCSV))
		if csv {
			b.path.Value = base + string(export.AsJSON)
		} else {
			b.path.Value = strings.TrimSuffix(base, string(export.AsJSON)) + string(export.AsCSV)
		}
	case "enter":
		return b.write(false)
	default:
		b.path.Key(k.name, k.text)
		b.err = nil
	}
	return nil
}

// file returns where to write.
func (b *exportBox) file() string {
	if rest, ok := strings.CutPrefix(b.path.Value, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return b.path.Value
}

func (b *exportBox) write(replace bool) tea.Cmd {
	path, write := b.file(), b.what.write
	f, err := export.FormatOf(path)
	if b.err = err; err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(b.m.ctx)
	b.cancel, b.start, b.rows = cancel, b.m.now(), new(atomic.Int64)
	id, rows := b.id, b.rows
	files := &b.m.files
	return tea.Batch(func() tea.Msg {
		files.Add(1)
		defer files.Done()
		defer cancel()
		if err := ctx.Err(); err != nil {
			return exportMsg{id, true, err}
		}
		err := export.File(path, replace, func(w io.Writer) error {
			out := bufio.NewWriterSize(w, 64<<10)
			if err := write(ctx, out, f, rows); err != nil {
				return err
			}
			return errors.Join(ctx.Err(), out.Flush())
		})
		return exportMsg{id, true, err}
	}, b.m.later(exportEvery, exportMsg{box: id}))
}

func (b *exportBox) answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(exportMsg)
	switch {
	case !ok || a.box != b.id || b.rows == nil:
		return nil
	case !a.done:
		return b.m.later(exportEvery, a)
	}
	n := int(b.rows.Load())
	b.rows = nil
	switch {
	case errors.Is(a.err, export.ErrExists):
		b.replace = b.m.now()
	case errors.Is(a.err, context.Canceled):
		b.m.close()
		b.m.say("Stopped: the file was not written.")
	case a.err != nil: // the name stays, to be corrected
		if refusal := new(api.UnreachableError); errors.As(a.err, &refusal) {
			b.m.heard(a.err)
		}
		b.err = a.err
	default:
		b.m.close()
		path, err := filepath.Abs(b.file())
		if err != nil {
			path = b.file()
		}
		b.m.say("Wrote " + say.Count(n, b.what.noun) + " to " + text.Escape(path))
	}
	return nil
}

func (b *exportBox) body(width, height int) []string {
	what := "all " + b.what.noun + "s"
	if b.what.known {
		what = say.Count(b.what.total, b.what.noun)
	}
	if b.what.words != "" {
		what += " that match " + b.what.words
	}
	out := []string{
		" " + b.m.st.title.Render(text.Cut("Export "+what, width-1)),
		"   file  " + b.path.View(width-10, b.rows == nil && b.replace.IsZero()),
		"   Only you may read it. It ends in .csv or .json.",
	}
	switch {
	case b.rows != nil:
		return append(out, "", " "+b.progress(width-2), " esc stops")
	case !b.replace.IsZero():
		return append(out, " "+b.m.st.warn.Render("! There is such a file already."), " > [ Keep it ]    y replace it")
	case b.err != nil:
		out = append(out, " "+b.m.st.warn.Render("! "+text.Cut(explain(b.err), width-4)))
	default:
		out = append(out, "")
	}
	return append(out, " enter write   tab csv or json   esc cancel")
}

// progress draws a bar if the number of rows is known.
func (b *exportBox) progress(width int) string {
	n := int(b.rows.Load())
	if !b.what.known || b.what.total == 0 {
		return say.Number(n) + " so far"
	}
	room := max(min(width-40, 40), 10)
	full := min(room*n/b.what.total, room)
	left := ""
	if n > 0 {
		left = "   " + say.Span(b.m.now().Sub(b.start)/time.Duration(n)*time.Duration(max(b.what.total-n, 0))) + " left"
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + say.Number(n) + " of " + say.Number(b.what.total) + left
}
