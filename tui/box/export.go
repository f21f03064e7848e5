package box

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
	"gatehouse/tui/plain"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// exportEvery is how often the progress of an export is drawn.
const exportEvery = 200 * time.Millisecond

// Listing is a listing as it is written to a file.
type Listing struct {
	Noun, Words string // what its rows are, and which of them
	Total       int    // if known
	Known       bool
	Write       func(context.Context, io.Writer, export.Format, *atomic.Int64) error // counts the rows
}

// Writer returns the Write of a listing whose rows are written by line.
func Writer[T, L any](all func(context.Context) iter.Seq2[T, error], line func(T) L) func(context.Context, io.Writer, export.Format, *atomic.Int64) error {
	return func(ctx context.Context, w io.Writer, f export.Format, n *atomic.Int64) error {
		return export.As(f, w, counted(all(ctx), func() { n.Add(1) }), line)
	}
}

// Export asks for the name of a file, and writes it.
type Export struct {
	host Host
	id   int
	what Listing
	path text.Field
	err  error

	Rows   *atomic.Int64 // written so far; nil: it does not write yet
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

// NewExport returns a box that asks where to write a listing.
func NewExport(h Host, l Listing) *Export {
	b := &Export{host: h, id: h.Next(), what: l}
	b.path.Value = fmt.Sprintf("gatehouse-%ss-%s.csv", l.Noun, h.Now().Format("20060102-150405"))
	return b
}

func (b *Export) Key(k Key) tea.Cmd {
	if b.Rows != nil {
		if k.Name == "esc" {
			b.cancel()
		}
		return nil
	}
	switch k.Name {
	case "esc":
		b.host.Close()
		b.host.Say("Cancelled: nothing was written.")
	case "tab":
		b.err = nil
		base, csv := strings.CutSuffix(b.path.Value, string(export.AsCSV))
		if csv {
			b.path.Value = base + string(export.AsJSON)
		} else {
			b.path.Value = strings.TrimSuffix(base, string(export.AsJSON)) + string(export.AsCSV)
		}
	case "enter":
		return b.write()
	default:
		b.path.Key(k.Name, k.Text)
		b.err = nil
	}
	return nil
}

// file returns where to write.
func (b *Export) file() string {
	if rest, ok := strings.CutPrefix(b.path.Value, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return b.path.Value
}

func (b *Export) write() tea.Cmd {
	path, write := b.file(), b.what.Write
	f, err := export.FormatOf(path)
	if b.err = err; err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(b.host.Context())
	b.cancel, b.start, b.Rows = cancel, b.host.Now(), new(atomic.Int64)
	id, rows := b.id, b.Rows
	files := b.host.Files()
	return tea.Batch(func() tea.Msg {
		files.Add(1)
		defer files.Done()
		defer cancel()
		if err := ctx.Err(); err != nil {
			return exportMsg{id, true, err}
		}
		err := export.File(path, func(w io.Writer) error {
			out := bufio.NewWriterSize(w, 64<<10)
			if err := write(ctx, out, f, rows); err != nil {
				return err
			}
			return errors.Join(ctx.Err(), out.Flush())
		})
		return exportMsg{id, true, err}
	}, b.host.Later(exportEvery, exportMsg{box: id}))
}

func (b *Export) Answer(msg tea.Msg) tea.Cmd {
	a, ok := msg.(exportMsg)
	switch {
	case !ok || a.box != b.id || b.Rows == nil:
		return nil
	case !a.done:
		return b.host.Later(exportEvery, a)
	}
	n := int(b.Rows.Load())
	b.Rows = nil
	switch {
	case errors.Is(a.err, context.Canceled):
		b.host.Close()
		b.host.Say("Stopped: the file was not written.")
	case a.err != nil: // the name stays, to be corrected
		if refusal := new(api.UnreachableError); errors.As(a.err, &refusal) {
			b.host.Heard(a.err)
		}
		b.err = a.err
	default:
		b.host.Close()
		path, err := filepath.Abs(b.file())
		if err != nil {
			path = b.file()
		}
		b.host.Say("Wrote " + say.Count(n, b.what.Noun) + " to " + text.Escape(path))
	}
	return nil
}

func (b *Export) Kind() plain.Kind { return plain.Shown }

// Fill types the name of the file, and writes it.
func (b *Export) Fill(values ...string) tea.Cmd {
	b.path.Value = ""
	b.path.Add(values[0])
	return b.Key(Key{Name: "enter"})
}

// Err returns why nothing was written.
func (b *Export) Err() error { return b.err }

func (b *Export) Body(width, height int) []string {
	what := "all " + b.what.Noun + "s"
	if b.what.Known {
		what = say.Count(b.what.Total, b.what.Noun)
	}
	if b.what.Words != "" {
		what += " that match " + b.what.Words
	}
	out := []string{
		" " + b.host.Paint().Title(text.Cut("Export "+what, width-1)),
		"   file  " + b.path.View(width-10, b.Rows == nil),
		"   Only you may read it. It ends in .csv or .json.",
	}
	switch {
	case b.Rows != nil:
		return append(out, "", " "+b.progress(width-2), " esc stops")
	case b.err != nil:
		out = append(out, " "+b.host.Paint().Warn("! "+text.Cut(say.Error(b.err), width-4)))
	default:
		out = append(out, "")
	}
	return append(out, " enter write   tab csv or json   esc cancel")
}

// progress draws a bar if the number of rows is known.
func (b *Export) progress(width int) string {
	n := int(b.Rows.Load())
	if !b.what.Known || b.what.Total == 0 {
		return say.Number(n) + " so far"
	}
	room := max(min(width-40, 40), 10)
	full := min(room*n/b.what.Total, room)
	left := ""
	if n > 0 {
		left = "   " + say.Span(b.host.Now().Sub(b.start)/time.Duration(n)*time.Duration(max(b.what.Total-n, 0))) + " left"
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + say.Number(n) + " of " + say.Number(b.what.Total) + left
}
