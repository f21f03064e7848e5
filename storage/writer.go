package storage

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/journal"
)

// change is a function that waits for the writer.
type change struct {
	by        Actor
	essential bool   // takes something away, and goes on when the disk is full
	note      *Event // set for what nobody waits for
	fn        func(*tx) error
	err       error
	done      chan struct{}
}

// tx is what a change sees: the store as the changes before it left it.
//
// What a change puts takes effect when it returns nil, and all of it or none.
// It may be run a second time, when the first came to nothing; so it must not
// count on what it did to variables outside. It must not touch the table: what
// it wants done there it leaves with durable.
type tx struct {
	*Store
	txn     *badger.Txn
	by      Actor
	now     int64 // ms
	records []record
	after   []func()
}

// What one commit may hold. Badger refuses a transaction of more than about
// 15 % of its memory table; a change puts a few records of a few hundred bytes.
const (
	batchChanges = 1024
	batchBytes   = 256 << 10
)

// change has the writer run fn, and returns when its effect is on the disk, or
// with the error for which it has none.
func (s *Store) change(by Actor, fn func(*tx) error) error {
	return s.submit(&change{by: by, fn: fn, done: make(chan struct{})})
}

// takeAway is change for what must go on when the disk is full: it takes the
// space that is kept for it.
func (s *Store) takeAway(by Actor, fn func(*tx) error) error {
	return s.submit(&change{by: by, essential: true, fn: fn, done: make(chan struct{})})
}

func (s *Store) submit(c *change) error {
	if s.isClosing() {
		return ErrClosed
	}
	if err := s.await(); err != nil {
		return err
	}
	select {
	case s.changes <- c:
	case <-s.closing:
		return ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-s.closing:
	}
	s.closed.Wait() // the writer takes what is queued before it ends
	select {
	case <-c.done:
		return c.err
	default:
		return ErrClosed
	}
}

// write is the writer: it runs until the store closes.
func (s *Store) write() {
	defer s.closed.Done()
	if err := s.await(); err != nil {
		s.refuseAll(err)
		return
	}
	s.tableHas(s.journal.End())
	s.bringUp()
	for {
		select {
		case c := <-s.changes:
			s.commit(s.gather(c))
		case <-s.closing:
			for {
				select {
				case c := <-s.changes:
					s.commit(s.gather(c))
				default:
					return
				}
			}
		}
	}
}

// refuseAll is the writer of a store that can't be opened. Nobody submits a
// change to it, but there may be events to note.
func (s *Store) refuseAll(err error) {
	for closing := false; ; {
		select {
		case c := <-s.changes:
			c.err = err
			s.answer(c)
			continue
		default:
		}
		if closing {
			return
		}
		<-s.closing
		closing = true
	}
}

// gather takes all that waits. It waits for no more, but lets those run who are
// ready to ask, as long as some do: who has just been answered is likely to.
// Without that the clients fall into two halves, and each sync serves one.
func (s *Store) gather(first *change) []*change {
	batch := []*change{first}
	for yielded := 0; len(batch) < batchChanges; {
		select {
		case c := <-s.changes:
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
func (s *Store) commit(batch []*change) {
	short := s.space.lack(s.space.watermark)
	if short == nil {
		s.catchUp()
		short = s.lag.because() // what is behind must not be overtaken
	}
	for len(batch) > 0 {
		if short != nil {
			if batch = s.refuseOthers(batch, short); len(batch) == 0 {
				return
			}
		}
		n, err := s.commitSome(batch, short)
		if errors.Is(err, journal.ErrNoSpace) && short == nil {
			short = err
			continue // what was run has left no trace
		}
		for _, c := range batch[:n] {
			if err != nil {
				c.err = err
			}
			s.answer(c)
		}
		batch = batch[n:]
	}
}

// refuseOthers answers the changes that are not essential, and returns those
// that are. In a directory that was removed nothing would last.
func (s *Store) refuseOthers(batch []*change, why error) (essential []*change) {
	for _, c := range batch {
		if c.essential && !errors.Is(why, errRemoved) && !s.space.stuck.Load() {
			essential = append(essential, c)
			continue
		}
		c.err = why
		s.answer(c)
	}
	return essential
}

// answer lets who waits for a change go on. Nobody waits for a note: that it is
// lost stands in the log.
func (s *Store) answer(c *change) {
	switch e := c.note; {
	case e == nil:
	case c.err == nil:
		s.states.events.Set(nil)
	default:
		s.states.events.Set(c.err, "action", e.Action, "uid", e.UID, "token", e.Token, "address", c.by.Address)
	}
	close(c.done)
}

// commitSome commits the first n changes of a batch. The changes' own errors
// are in them; err is that of the commit. What is short, if anything, is why Badger gets
// none of it.
func (s *Store) commitSome(batch []*change, short error) (n int, err error) {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	clear(s.saved)
	counts := s.counts
	var records []record
	var after []func()
	for size := 0; n < len(batch) && size < batchBytes; n++ {
		if n > 0 && s.lag.some.Load() {
			break // one at a time: reads find there what the change before has replaced
		}
		c := batch[n]
		s.Now() // a clock that was set just now is seen before its time is written
		t := &tx{Store: s, txn: txn, by: c.by, now: s.now()}
		if c.err = c.fn(t); c.err != nil || len(t.records) == 0 {
			continue
		}
		if err := t.enter(&counts); err != nil {
			return n + 1, fmt.Errorf("%w: %w", ErrFailed, err)
		}
		for _, r := range t.records {
			size += r.size()
		}
		records = append(records, t.records...)
		after = append(after, t.after...)
	}
	if len(records) == 0 {
		return n, nil
	}
	if counts != s.counts {
		last := &records[len(records)-1] // the journal has all of a batch, or nothing
		last.ops = append(last.ops, op{key: countsKey, value: s.seals.seal(countsKey, counts.value())})
	}
	entries, err := s.entries(records)
	if err != nil {
		return n, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	if _, err := s.journal.Append(short != nil, entries); err != nil {
		return n, s.appendFailed(err)
	}
	s.states.refused.Set(nil)
	end := s.journal.End() // the writer alone appends
	s.counts = counts
	s.visible.Lock()
	defer s.visible.Unlock()
	s.index(txn, records, end, short)
	for _, f := range after {
		f()
	}
	s.tableHas(end)
	return n, nil
}

// entries is what the journal gets. It is good until the next call.
func (s *Store) entries(records []record) ([]journal.Entry, error) {
	list, b := s.encoded.entries[:0], s.encoded.payloads[:0]
	for _, r := range records {
		from, err := len(b), error(nil)
		if b, err = r.appendPayload(b); err != nil {
			return nil, err
		}
		list = append(list, journal.Entry{Time: r.event.Time, Actor: r.event.Actor, Payload: b[from:]})
	}
	s.encoded.entries, s.encoded.payloads = list, b
	return list, nil
}

// appendFailed says what an append's error means to the callers.
func (s *Store) appendFailed(err error) error {
	switch {
	case errors.Is(err, journal.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, journal.ErrTooLarge):
		return err // nothing was written
	case !errors.Is(err, journal.ErrFailed) && !errors.Is(err, journal.ErrClosed):
		s.states.refused.Set(err)
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // nothing was written, and the next change may be
	}
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	s.failed.CompareAndSwap(nil, &err)
	return err
}

// index brings into Badger what the journal has. That it can't is no failure
// of the change, which is durable: the records wait in memory, and at the next
// open they come from the journal.
func (s *Store) index(txn *badger.Txn, records []record, end journal.Position, why error) {
	size := 0
	for _, r := range records {
		size += r.size()
	}
	if why == nil {
		why = s.space.ready(size)
	}
	if why == nil {
		for _, r := range records {
			s.mark(r.ops)
		}
		s.marks.at = end
		err := s.setApplied(txn)
		if err == nil {
			err = txn.Commit()
		}
		if err == nil {
			for _, r := range records {
				s.lag.refresh(r.ops)
			}
			return
		}
		why = notWritten("write to the index", err)
	}
	for _, r := range records {
		s.lag.add(r.ops, end, why)
	}
	s.states.behind.Set(why)
}

// enter puts what a change does into the transaction and into the counts.
func (t *tx) enter(counts *counts) error {
	for _, r := range t.records {
		for _, o := range r.ops {
			if err := t.account(t.txn, counts, o); err != nil {
				return err
			}
			if err := setOne(t.txn, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func setAll(txn *badger.Txn, ops []op) error {
	for _, o := range ops {
		if err := setOne(txn, o); err != nil {
			return err
		}
	}
	return nil
}

func setOne(txn *badger.Txn, o op) error {
	if o.value == nil {
		return txn.Delete(o.key)
	}
	return txn.Set(o.key, o.value)
}

// event begins a record: what is put next belongs to it.
func (t *tx) event(e Event) {
	if e.Address == "" {
		e.Address = t.by.Address
	}
	e.Time, e.Actor = t.now, t.by.Name
	t.records = append(t.records, record{event: e})
}

func (t *tx) op(o op) {
	if len(t.records) == 0 {
		// A change that the audit log does not tell of.
		t.records = append(t.records, record{event: Event{Time: t.now, Actor: t.by.Name}})
	}
	r := &t.records[len(t.records)-1]
	r.ops = append(r.ops, o)
}

// put stores a sealed value.
func (t *tx) put(key, value []byte) { t.op(op{key: key, value: t.seals.seal(key, value)}) }

// hint stores an unsealed value.
func (t *tx) hint(key, value []byte) {
	t.op(op{key: key, value: append([]byte{}, value...)})
}

// first marks what was put last as put under a new key, so that nobody looks
// for what it replaces.
func (t *tx) first() {
	ops := t.records[len(t.records)-1].ops
	ops[len(ops)-1].first = true
}

func (t *tx) delete(key []byte) { t.op(op{key: key}) }

// durable leaves something to be done once the change is on the disk, before
// its caller is answered.
func (t *tx) durable(f func()) { t.after = append(t.after, f) }
