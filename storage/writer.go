package storage

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/lasting"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// writer runs the changes. Nothing else appends to the log. The writer takes
// all waiting changes and runs them in order. It appends their operations with
// one write and one sync, applies these to both projections, and answers.
type writer struct {
	changes chan *change // those that wait
	closing <-chan struct{}

	// open sets these, before the writer runs.
	log   appender
	index *index.Index
	table *table.Table
	space *disk.Space
	begin func(*index.View, Actor) *tx // of a change

	refused *lasting.State // the system refuses appends to the log
	lost    *lasting.State // events that nobody waits for are lost

	// failed is set when the log has lost a write: see ErrFailed.
	failed atomic.Pointer[error]

	allowances map[UserID]allowance
	saved      map[UserID]bool // users that this commit saves; owners does not have their new state yet
	stamped    stamp           // of the latest token or user
	encoded    struct {        // kept, so that a commit need not allocate them
		entries  []journal.Entry
		payloads []byte
	}
}

// appender is what the writer needs from the log: it appends a batch, and learns
// when the batch is durable.
type appender interface {
	// Append returns nil when all of the batch is on the disk, and an error when none
	// of it is. An essential batch may use the reserve.
	Append(essential bool, batch []journal.Entry) (last uint64, err error)
	// End is the position of the last record that is durable.
	End() journal.Position
}

// stamp distinguishes things that are created in the same millisecond, so that a
// listing keeps the order of creation.
type stamp struct {
	ms int64
	n  uint16
}

func (s *stamp) at(ms int64) uint16 {
	if s.ms != ms {
		s.ms, s.n = ms, 0
	}
	s.n++
	return s.n
}

func newWriter(closing <-chan struct{}) *writer {
	return &writer{
		closing:    closing,
		changes:    make(chan *change, batchChanges),
		allowances: make(map[UserID]allowance),
		saved:      make(map[UserID]bool),
	}
}

// openWriter gives the writer what it changes.
func (s *Store) openWriter() {
	w := s.writer
	w.log, w.index, w.table, w.space = s.journal, s.index, s.table, s.space
	w.refused, w.lost = &s.states.refused, &s.states.events
	w.begin = func(v *index.View, by Actor) *tx {
		s.Now() // notice a clock that was just set before writing its time
		return &tx{Reader: s.reads.At(v), s: s, writer: w, by: by, now: s.clock.Now()}
	}
}

// change is a function that waits for the writer.
type change struct {
	by        Actor
	essential bool   // takes something away; allowed when the disk is full
	note      *Event // set if nobody waits for the change
	fn        func(*tx) error
	err       error
	done      chan struct{}
}

// tx is what a change sees: the store as the changes before it left it.
//
// What a change puts takes effect completely if the change returns nil, and
// otherwise not at all. A change may run a second time if the first run had no
// effect, so it must not rely on variables outside. It must not touch the
// table: it passes such work to durable.
type tx struct {
	*read.Reader
	s       *Store
	writer  *writer
	by      Actor
	now     int64 // ms
	records []record.Entry
	after   []func()
}

// The limits of one commit. A change puts a few records of a few hundred bytes.
// Badger refuses a transaction of more than about 15 percent of its memory
// table.
const (
	batchChanges = 1024
	batchBytes   = 256 << 10
)

// change makes the writer run fn. It returns nil when the effect is on the
// disk, and otherwise the error that prevented it.
func (s *Store) change(by Actor, fn func(*tx) error) error {
	return s.submit(&change{by: by, fn: fn, done: make(chan struct{})})
}

// takeAway is like change, for changes that must work even when the disk is
// full. They use the space that is reserved for them.
func (s *Store) takeAway(by Actor, fn func(*tx) error) error {
	return s.submit(&change{by: by, essential: true, fn: fn, done: make(chan struct{})})
}

func (s *Store) submit(c *change) error {
	if s.isClosing() {
		return ErrClosed
	}
	if err := s.opening.await(); err != nil {
		return err
	}
	if err := s.enqueue(c); err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.err
	case <-s.closing:
	}
	s.stop.closed.Wait() // the writer takes what is queued before it ends
	select {
	case <-c.done:
		return c.err
	default:
		return ErrClosed
	}
}

// enqueue gives a change to the writer, or returns ErrClosed once the store is closing.
func (s *Store) enqueue(c *change) error {
	select {
	case s.writer.changes <- c:
		return nil
	case <-s.closing:
		return ErrClosed
	}
}

// write runs the writer when the store is open.
func (s *Store) write() {
	if err := s.opening.await(); err != nil {
		s.writer.refuseAll(err)
		return
	}
	s.table.Reached(s.journal.End())
	s.moveFiles()
	s.writer.run()
}

// run is the writer's loop. It runs until the store closes.
func (w *writer) run() {
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

// refuseAll is the writer's loop for a store that can't be opened. Nobody
// submits a change then, but there may be events to note.
func (w *writer) refuseAll(err error) {
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
func (w *writer) gather(first *change) []*change {
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

// commit runs the changes in order and commits them, in one batch or, when
// they are large, a few. When space is short only the essential ones are run.
func (w *writer) commit(batch []*change) {
	short := w.space.Short()
	if short == nil {
		w.index.Advance()
		short = w.index.Behind() // later changes must not overtake the waiting ones
	}
	for len(batch) > 0 {
		if short != nil {
			if batch = w.refuseOthers(batch, short); len(batch) == 0 {
				return
			}
		}
		n, err := w.commitSome(batch, short)
		if errors.Is(err, journal.ErrNoSpace) && short == nil {
			short = err
			continue // this run has left no trace
		}
		for _, c := range batch[:n] {
			if err != nil {
				c.err = err
			}
			w.answer(c)
		}
		batch = batch[n:]
	}
}

// refuseOthers answers the changes that are not essential, and returns those
// that are. Nothing would last in a directory that was removed.
func (w *writer) refuseOthers(batch []*change, why error) (essential []*change) {
	for _, c := range batch {
		if c.essential && !errors.Is(why, disk.ErrRemoved) && !w.index.Stuck() {
			essential = append(essential, c)
			continue
		}
		c.err = why
		w.answer(c)
	}
	return essential
}

// answer lets the caller that waits for a change continue. Nobody waits for a
// note: a lost note is logged.
func (w *writer) answer(c *change) {
	switch e := c.note; {
	case e == nil:
	case c.err == nil:
		w.lost.Set(nil)
	default:
		w.lost.Set(c.err, "action", e.Action, "uid", e.UID, "token", e.Token, "address", c.by.Address)
	}
	close(c.done)
}

// commitSome commits the first n changes of a batch. Each change holds its own error;
// err is the error of the commit. If short is not nil, it says why the index gets none
// of the changes.
func (w *writer) commitSome(batch []*change, short error) (n int, err error) {
	b := w.index.Batch()
	defer b.Discard()
	clear(w.saved)
	var records []record.Entry
	var after []func()
	for size := 0; n < len(batch) && size < batchBytes; n++ {
		if n > 0 && w.index.Behind() != nil {
			break // one change at a time: scans of the index would still find what the previous change has replaced
		}
		c := batch[n]
		t := w.begin(&b.View, c.by)
		if c.err = c.fn(t); c.err != nil || len(t.records) == 0 {
			continue
		}
		for _, r := range t.records {
			if err := b.Enter(r.Ops); err != nil {
				return n + 1, fmt.Errorf("%w: %w", ErrFailed, err)
			}
			size += r.Size()
		}
		records = append(records, t.records...)
		after = append(after, t.after...)
	}
	if len(records) == 0 {
		return n, nil
	}
	if o, changed := b.Counts(); changed {
		last := &records[len(records)-1] // the journal has all of a batch, or nothing
		last.Ops = append(last.Ops, o)
	}
	entries, err := w.entries(records)
	if err != nil {
		return n, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if _, err := w.log.Append(short != nil, entries); err != nil {
		return n, w.appendFailed(err)
	}
	w.refused.Set(nil)
	end := w.log.End() // the writer alone appends
	b.Commit(end, short, func() {
		for _, f := range after {
			f()
		}
		w.table.Reached(end)
	})
	return n, nil
}

// entries encodes the records for the journal. The result is valid until the
// next call.
func (w *writer) entries(records []record.Entry) ([]journal.Entry, error) {
	list, b := w.encoded.entries[:0], w.encoded.payloads[:0]
	for _, r := range records {
		from, err := len(b), error(nil)
		if b, err = r.AppendPayload(b); err != nil {
			return nil, err
		}
		list = append(list, journal.Entry{Time: r.Event.Time, Actor: r.Event.Actor, Payload: b[from:]})
	}
	w.encoded.entries, w.encoded.payloads = list, b
	return list, nil
}

// appendFailed says what an append's error means to the callers.
func (w *writer) appendFailed(err error) error {
	switch {
	case errors.Is(err, journal.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, journal.ErrTooLarge):
		return err // nothing was written
	case !errors.Is(err, journal.ErrFailed) && !errors.Is(err, journal.ErrClosed):
		w.refused.Set(err)
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // nothing was written, and the next change may succeed
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	w.failed.CompareAndSwap(nil, &err)
	return err
}

// event begins a record: the operations that follow belong to it.
func (t *tx) event(e Event) {
	if e.Address == "" {
		e.Address = t.by.Address
	}
	e.Time, e.Actor = t.now, t.by.Name
	t.records = append(t.records, record.Entry{Event: e})
}

func (t *tx) op(o record.Op) {
	if len(t.records) == 0 {
		// A change that the audit log does not show.
		t.records = append(t.records, record.Entry{Event: Event{Time: t.now, Actor: t.by.Name}})
	}
	r := &t.records[len(t.records)-1]
	r.Ops = append(r.Ops, o)
}

// put stores a sealed value.
func (t *tx) put(key, value []byte) { t.op(record.Op{Key: key, Value: t.s.seals.Seal(key, value)}) }

// hint stores an unsealed value.
func (t *tx) hint(key, value []byte) {
	t.op(record.Op{Key: key, Value: append([]byte{}, value...)})
}

// first marks the last operation as the first one under its key, so that nobody
// looks for a value that it replaces.
func (t *tx) first() {
	ops := t.records[len(t.records)-1].Ops
	ops[len(ops)-1].First = true
}

func (t *tx) delete(key []byte) { t.op(record.Op{Key: key}) }

// durable registers a function that runs when the change is on the disk, before
// the caller is answered.
func (t *tx) durable(f func()) { t.after = append(t.after, f) }

// wake makes the writer update the index although no change waits.
func (w *writer) wake() {
	select {
	case w.changes <- &change{fn: func(*tx) error { return nil }, done: make(chan struct{})}:
	default: // the writer has work, and updates the index before it
	}
}
