// Package writer runs the changes of a store, one after the other, and makes them durable.
//
// A change is a function that reads and puts within one transaction, a [Tx]. One goroutine
// takes all the changes that wait and runs them in order. It appends what they put to the
// log with one write and one sync, and only then applies it to both projections, the index
// and the table, and answers. So changes are serial without a lock, and all waiting callers
// share the cost of the disk's sync.
//
//	Do -> Run -> gather      all the changes that wait
//	             commit      on a short disk, without those that need much room
//	             commitSome  run each change on a batch of the index
//	                         append what they put to the journal, which syncs
//	                         commit the batch; change the table (Tx.Durable)
//	   <-        answer
//
// Nothing else appends to the journal of an open store. This package never decides what a
// change may do, and does not know users or tokens.
package writer

import (
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/lasting"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Journal is what the writer needs from the journal: it appends a batch, and learns when the batch
// is durable.
type Journal interface {
	// Append returns nil when all of the batch is on the disk. After journal.ErrFailed,
	// nobody knows whether it is; after any other error it is not. An essential batch may
	// use the reserve.
	Append(need journal.Need, batch []journal.Entry) (last uint64, err error)
	// End is the position of the last record that is durable.
	End() journal.Position
}

// Target is what the writer changes and how its changes read it.
type Target struct {
	Journal Journal
	Index   *index.Index
	Table   *table.Table
	Space   *disk.Space
	Seals   *keys.Seals

	Read  func(*index.View) *read.Reader
	Now   func() int64 // ms
	Begin func()       // called before the changes of each commit
}

// Writer runs the changes. Do, Note, Wake, Waiting and Failed may be called from many
// goroutines.
type Writer struct {
	to      Target // set by Run
	changes chan *change
	closing <-chan struct{}
	ended   chan struct{} // closed when no change is run any more

	refused lasting.State // the system refuses appends to the journal
	lost    lasting.State // events that nobody waits for are lost

	// failed is set when the journal has lost a write: see [disk.ErrFailed].
	failed atomic.Pointer[error]

	encoded struct { // kept, so that a commit need not allocate them
		entries  []journal.Entry
		payloads []byte
	}
}

// change is a function that waits for the writer.
type change struct {
	by   record.Actor
	need journal.Need
	note *record.Event // set if nobody waits for the change
	fn   func(*Tx) error
	err  error
	done chan struct{}
}

// The limits of one commit. A change puts a few records of a few hundred bytes.
// Badger refuses a transaction of more than about 15 percent of its memory
// table.
const (
	batchChanges = 1024
	batchBytes   = 256 << 10
)

// New returns a writer that ends when closing is closed. Changes wait until [Writer.Run]
// is called.
func New(closing <-chan struct{}, log *slog.Logger) *Writer {
	return &Writer{
		changes: make(chan *change, batchChanges), closing: closing, ended: make(chan struct{}),
		refused: lasting.State{Log: log, Level: slog.LevelError, Begins: "the system refuses to write changes", Ends: "the system writes changes again"},
		lost:    lasting.State{Log: log, Level: slog.LevelWarn, Begins: "events are missing in the audit log", Ends: "events are recorded again"},
	}
}

// Do runs fn and returns nil when its effect is on the disk, and otherwise the error that
// prevented it: that of fn, or [disk.ErrClosed], [disk.ErrNoSpace], [disk.ErrUnavailable],
// [disk.ErrFailed] or [journal.ErrTooLarge]. A [journal.Essential] change takes something away: it
// uses the space that is reserved for that when the disk is full. [Writer.Run] or
// [Writer.Refuse] must have been called, or be about to be.
func (w *Writer) Do(by record.Actor, need journal.Need, fn func(*Tx) error) error {
	if disk.IsClosed(w.closing) { // the select below may also take the other case
		return disk.ErrClosed
	}
	c := &change{by: by, need: need, fn: fn, done: make(chan struct{})}
	select {
	case w.changes <- c:
	case <-w.closing:
		return disk.ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-w.ended: // the writer takes what is queued before it ends
	}
	select {
	case <-c.done:
		return c.err
	default:
		return disk.ErrClosed
	}
}

var errSlow = errors.New("the disk is too slow")

// Note writes an event that changes nothing. It does not wait for the disk. A lost event is
// logged.
func (w *Writer) Note(by record.Actor, e record.Event) {
	c := &change{by: by, note: &e, fn: func(t *Tx) error { t.Event(e); return nil }, done: make(chan struct{})}
	select {
	case w.changes <- c:
	default:
		w.lose(c, errSlow)
	}
}

func (w *Writer) lose(c *change, err error) {
	w.lost.Set(err, "action", c.note.Action, "uid", c.note.UID, "token", c.note.Token, "address", c.by.Address)
}

// Wake makes the writer update the index although no change waits.
func (w *Writer) Wake() {
	select {
	case w.changes <- &change{fn: func(*Tx) error { return nil }, done: make(chan struct{})}:
	default: // the writer has work, and updates the index before it
	}
}

// Waiting returns how many changes wait.
func (w *Writer) Waiting() int { return len(w.changes) }

// Failed returns the error after which the journal takes nothing more, or nil.
func (w *Writer) Failed() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Stop ends the logging of the states that last.
func (w *Writer) Stop() {
	w.refused.Stop()
	w.lost.Stop()
}

// Run runs the changes until the store closes.
func (w *Writer) Run(to Target) {
	defer close(w.ended)
	w.to = to
	for {
		select {
		case c := <-w.changes:
			w.commit(w.gather(c))
		case <-w.closing:
			for {
				select {
				case c := <-w.changes:
					w.commit(w.gather(c))
				default:
					return
				}
			}
		}
	}
}

// Refuse takes the place of Run for a store that can't be opened. Nobody calls Do then, but
// there may be events to note.
func (w *Writer) Refuse(err error) {
	defer close(w.ended)
	for closing := false; ; {
		select {
		case c := <-w.changes:
			c.err = err
			w.answer(c)
			continue
		default:
		}
		if closing {
			return
		}
		<-w.closing
		closing = true
	}
}

// gather takes all waiting changes. It does not wait for more, but yields to
// callers that are about to submit one, as long as more arrive: a caller that
// was just answered often submits again. Without this the clients fall into two
// halves, and each sync serves only one of them.
func (w *Writer) gather(first *change) []*change {
	batch := []*change{first}
	for yielded := 0; len(batch) < batchChanges; {
		select {
		case c := <-w.changes:
			batch, yielded = append(batch, c), 0
		default:
			if yielded++; yielded > 2 {
				return batch
			}
			runtime.Gosched()
		}
	}
	return batch
}
