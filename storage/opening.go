package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"gatehouse/storage/checkpoint"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/order"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// opening takes a store from its files to the point where it answers every request. A
// start is the same sequence after a stop and after a kill: a stop only leaves less to
// catch up with.
//
//	begin        the key, the format
//	    openLog      the log, verified from the table's position on
//	    takeTable    the table's file, and the later changes in the log
//	                     Open returns, if the caller wants an early open: tokens are verified
//	run
//	    loadFile     the rest of the table's file
//	    openIndex    the rest of the log is verified; the index is verified, opened, and
//	                 catches up, or is filled again
//	    loadTable    the tokens and their last uses from the index's records, if the file
//	                 lacked any: loaded
//	                     Open returns; Opened: every request is answered
//	    recoverUses  the uses that are in their log and not in the index: Counted
//	    compare      after a stop, the index with the contents that the log states: compared
//
// Table, index and checkpoint each name the position of the log up to which they have all
// records. Every start compares that position with the log. A file with an older position
// catches up. A file with a position that the log does not have belongs to another
// history, and is built again. A file with a newer position proves that the log has lost
// records that were acknowledged, and the store is refused. No file vouches for another:
// two files restored from an older copy would agree with each other.
//
// Verifying the index takes about a second for some millions of tokens, and about ten
// seconds after a kill. A server that opens the store early answers from the table
// during that time; callers that need the index wait.
type opening struct {
	s        *Store
	fresh    bool   // there was no store: a new one is created
	restored bool   // a restore has left only log and checkpoint
	early    bool   // Open returns when tokens can be verified
	exact    bool   // the table's file has all changes and all last uses
	format   string // of the existing store; empty: unknown

	// So far the log is verified only from the table's position on.
	partial bool

	file   *table.File // nil: no usable file
	logKey [32]byte
	useLog *uses.Log

	loaded   chan struct{} // closed when the table has all tokens and last uses
	opened   chan struct{} // closed when every request is answered, or the opening has failed
	err      error         // why it failed; read it only after opened is closed
	matches  bool          // the index was compared with the contents that it must hold
	compared chan struct{} // closed when the index was compared and matched
}

func newOpening(s *Store) *opening {
	return &opening{s: s, loaded: make(chan struct{}), opened: make(chan struct{}), compared: make(chan struct{})}
}

// openStore opens a directory, and gives up with the error of ctx when ctx ends. It
// calls check, unless that is nil, with the end of the log, and refuses the store if
// check returns an error.
func openStore(ctx context.Context, dir string, opts Options, check func(end journal.Position) error) (*Store, error) {
	s, err := begin(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, s.stop.quit)()
	if check != nil {
		if err := check(s.journal.End()); err != nil {
			return nil, errors.Join(err, s.stop.release())
		}
	}
	s.stop.closed.Add(1)
	if s.opening.early {
		s.opening.start()
		go s.opening.run()
		return s, nil
	}
	go s.opening.run()
	<-s.opening.opened
	if err := s.opening.err; err != nil {
		if errors.Is(err, ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, errors.Join(err, s.stop.abandon())
	}
	return s, nil
}

// begin opens the log and takes the table.
func begin(ctx context.Context, dir string, opts Options) (*Store, error) {
	s, err := newStore(dir, opts)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, s.stop.quit)()
	if err := s.opening.begin(); err != nil {
		if errors.Is(err, ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, disk.Explain(errors.Join(err, s.stop.release()))
	}
	return s, nil
}

func (o *opening) begin() (err error) {
	s := o.s
	if o.fresh, err = s.opening.isFresh(); err != nil {
		return err
	}
	if err := o.checkFormat(); err != nil { // before anything is changed
		return err
	}
	o.removeRemains()
	ring, err := keys.Load(s.path("keyring"), s.opts.KeyFile, o.fresh)
	if err != nil {
		return err
	}
	s.keys, s.seals, s.passwords = ring.TokenKeys(), ring.Seals(), ring.Passwords()
	s.memory.Key = ring.Derive("attempts")
	o.logKey = ring.Derive("journal")
	s.checkpoints.file = checkpoint.File{
		Path: s.path("checkpoint"), Key: ring.Derive("snapshots"), Stop: s.stillOpen,
		Has: func(at journal.Position) error { return s.journal.Has(context.Background(), at) },
	}
	s.space.KeepBallast()
	if o.useLog, err = uses.Open(s.path("uses"), s.seals, s.opts.Log); err != nil {
		return fmt.Errorf("open the log of uses: %w", err)
	}
	s.index = newIndex(s)
	o.restored = !o.fresh && disk.Exists(s.path("restored"))
	if err := o.openLog(); err != nil {
		return err
	}
	if o.early = s.opts.Early && o.file != nil; o.early {
		return o.accept()
	}
	return nil
}

// openLog opens the log, and takes the existing table if that saves work.
func (o *opening) openLog() error {
	s := o.s
	switch {
	case o.fresh:
		return o.openJournal(journal.Options{Create: true})
	case o.restored:
		return o.openRestoredLog()
	}
	left, err := table.Open(s.path("table"), s.seals)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.opts.Log.Debug("the table that was left is not taken", "because", err)
	}
	// The oldest records that a table or a checkpoint has must still be there.
	opts := journal.Options{Known: s.checkpoints.file.Last().Sequence}
	if left != nil {
		opts.Known, opts.VerifyAfter = max(opts.Known, left.Position.Sequence), left.Position.Sequence
	}
	err = o.openJournal(opts)
	if err == nil && left != nil {
		o.takeTable(left)
	}
	if o.file == nil && left != nil {
		err = errors.Join(err, left.Close())
		s.table = table.New() // it may have some of the users
	}
	return err
}

func (o *opening) openJournal(opts journal.Options) (err error) {
	s := o.s
	opts.Now, opts.SegmentSize = s.opts.Now, s.opts.Segment
	s.journal, err = journal.Open(s.path("journal"), o.logKey, opts)
	if errors.Is(err, journal.ErrEmpty) {
		return o.journalGone()
	}
	if err != nil {
		return disk.NotRead("open the journal", err)
	}
	if err := s.space.Watch(s.path("journal")); err != nil {
		return disk.NotRead("open the journal", err)
	}
	if tear, ok := s.journal.Torn(); ok {
		s.opts.Log.Info("an interrupted write, which nobody was told had succeeded, was cut off the journal",
			"file", tear.File, "offset", tear.Offset)
	}
	if err := s.clock.Open(s.journal, s.seals); err != nil {
		return err
	}
	if opts.Create && s.journal.LastSequence() == opts.CreateAfter {
		return o.firstRecord()
	}
	return nil
}

// journalGone refuses a store that has its other files but not the journal,
// which is the truth.
func (o *opening) journalGone() error {
	return fmt.Errorf("%w: the journal in %s is missing: put it back, or %s",
		ErrDamaged, o.s.path("journal"), disk.RestoreAdvice)
}

// firstRecord appends an empty record: a log without any record would look as if
// somebody had removed it.
func (o *opening) firstRecord() error {
	payload, err := record.Entry{}.AppendPayload(nil)
	if err != nil {
		return err
	}
	_, err = o.s.journal.Append(true, []journal.Entry{{Payload: payload}})
	return err
}

// takeTable takes the table's file if it is useful. A file that lacks changes or uses
// serves only until the index is open, so a start that waits for the index can't use it.
func (o *opening) takeTable(left *table.File) {
	s := o.s
	exact := left.Uses != 0 && left.Uses == o.useLog.Found() && left.Position == s.journal.End()
	o.partial = !exact
	if !exact && !s.opts.Early {
		return
	}
	err := s.journal.Has(context.Background(), left.Position)
	if err == nil {
		err = left.Users(s.table, s.keys.Has, !exact)
	}
	if err == nil && !exact {
		err = o.catchUpTable(left.Position.Sequence)
	}
	if err != nil {
		s.opts.Log.Warn("the table that was left is not taken, and the start takes longer", "because", err)
		return
	}
	o.file, o.exact = left, exact
	if !exact {
		s.opts.Log.Info("the last stop was not clean; until the index is open, tokens are verified by the table that was left",
			"records", s.journal.LastSequence()-left.Position.Sequence)
	}
}

// catchUpTable applies every later change to the table. Shards may be loaded
// from the file afterwards: loading never overwrites a newer change.
func (o *opening) catchUpTable(after uint64) error {
	s := o.s
	load := o.loader()
	err := record.Log{Journal: s.journal}.Ops(after, func(_ uint64, ops []record.Op) error {
		for _, op := range ops {
			if err := load.Apply(op); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bring the table up to the journal: %w", err)
	}
	load.DropRemoved()
	return nil
}

// run is the rest of the sequence.
func (o *opening) run() {
	s := o.s
	defer s.stop.closed.Done()
	o.loadFile()
	err := o.openIndex()
	if err == nil && !o.early { // no other goroutine uses the store yet
		if err = o.accept(); err == nil {
			o.start()
		}
	}
	s.checkpoints.tableDue = !o.exact
	o.err = disk.Explain(err)
	close(o.opened)
	if err != nil {
		if o.early {
			s.uses.Recover(ErrClosed) // and nobody waits for them
		}
		if o.early && !errors.Is(err, ErrClosed) {
			s.opts.Log.Error("the store can't be opened", "error", o.err)
		}
		return
	}
	debug.FreeOSMemory() // the garbage of verifying the index
	s.stop.closed.Go(s.upkeep.recoverUses)
	o.compare()
}

// start begins the store's own background work. From here on, the table is not
// replaced any more.
func (o *opening) start() {
	s := o.s
	s.views = order.New(s.table, viewsIndex{s}, s.keys.Has)
	s.uses = newUses(s)
	s.verifier = newVerifier(s)
	s.stop.closed.Add(2)
	s.writer.log, s.writer.index = s.journal, s.index
	s.stop.closed.Go(s.surplus.Run)
	go s.writer.write()
	go s.upkeep.run()
}

// accept begins the work that is done only for a store that is not refused.
func (o *opening) accept() error {
	s := o.s
	s.clock.Accepted()
	s.checkpoints.retention = newRetention(s)
	// A process that never runs for a whole day must still make checkpoints. A
	// checkpoint that the log can't continue from counts as none.
	s.checkpoints.size = s.journal.Size()
	if m := s.checkpoints.file.Last(); m.Sequence+1 >= s.journal.FirstSequence() {
		s.checkpoints.at = time.UnixMilli(m.Created)
	}
	return o.noteRestored()
}

// loadFile loads the whole of the table's file. If a part of the file is damaged, the
// records supply it.
func (o *opening) loadFile() {
	start := time.Now()
	if o.file == nil {
		return
	}
	if o.file.LoadAll(o.s.stillOpen) != nil {
		o.exact = false
		return
	}
	if o.exact {
		o.whole()
		o.s.opts.Log.Info("the table of tokens is loaded", "tokens", o.s.table.Len(), "took", time.Since(start))
	}
}

// openIndex opens the index and brings it, and the table, up to the end of the log. It
// fills a damaged index again.
func (o *opening) openIndex() error {
	s := o.s
	switch {
	case o.fresh:
		return o.create()
	case o.restored:
		return o.fill()
	}
	if o.partial {
		if err := o.verifyLog(); err != nil {
			return err
		}
	}
	if s.index.HasNote() {
		return o.fill()
	}
	err := o.catchUpIndex()
	if err == nil {
		err = o.loadTable()
	}
	if errors.As(err, new(*index.Fault)) {
		s.opts.Log.Warn("the index is built again from the journal", "because", err)
		return o.fill()
	}
	return err
}

// create makes the index of a new store. The file format comes last: files that a
// crash leaves before that are empty, and are created again.
func (o *opening) create() error {
	s := o.s
	if err := s.index.OpenEmpty(); err != nil {
		return fmt.Errorf("make the index: %w", err)
	}
	if err := s.index.Create(s.journal.End()); err != nil {
		return err
	}
	// Otherwise a power failure takes the directory, and everything that was
	// synced in it.
	if err := errors.Join(disk.SyncDir(s.dir), disk.SyncDir(filepath.Dir(s.dir))); err != nil {
		return err
	}
	o.whole()
	return o.leaveFormat()
}

// verifyLog also verifies the part of the log that comes before the table's
// position.
func (o *opening) verifyLog() error {
	s, n := o.s, 0
	err := s.journal.Replay(context.Background(), s.journal.FirstSequence()-1, func(journal.Record) error {
		if n++; n%64 != 0 {
			return nil
		}
		runtime.Gosched() // let callers verify tokens
		if s.isClosing() {
			return ErrClosed
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrClosed) {
		return disk.NotRead("verify the journal", err)
	}
	return err
}

// catchUpIndex opens the existing index. After a clean stop it does not read the
// index; compare does that later.
func (o *opening) catchUpIndex() error {
	s := o.s
	closed, err := s.index.Open()
	if err != nil {
		return err
	}
	if err := o.placeIndex(); err != nil {
		return err
	}
	if o.format != format {
		if err := o.bringUpToDate(); err != nil {
			return err
		}
		closed = false // read and compare all of it
	}
	if closed && s.index.Position() == s.journal.End() {
		return s.index.Settle()
	}
	err = s.index.CatchUp(record.Log{Journal: s.journal})
	o.matches = err == nil
	return err
}

// placeIndex compares the index's position with the log.
func (o *opening) placeIndex() (err error) {
	s := o.s
	at, last := s.index.Position(), s.journal.LastSequence()
	if at.Sequence > last {
		return fmt.Errorf("%w: the index has record %d, and the journal in %s ends with record %d: put back the newer journal, or %s",
			ErrDamaged, at.Sequence, s.path("journal"), last, disk.RestoreAdvice)
	}
	if s.index.Hashed() {
		err = s.journal.Has(context.Background(), at)
	} else { // format 1
		_, err = s.journal.At(context.Background(), at.Sequence)
	}
	switch {
	case errors.Is(err, journal.ErrElsewhere), errors.Is(err, journal.ErrPruned):
		return &index.Fault{Err: err}
	case err != nil:
		return disk.NotRead("compare the index with the journal", err)
	}
	return nil
}

// fill fills the index and the table again, from the checkpoint and the log. It
// removes nothing until it knows that these are sufficient.
func (o *opening) fill() error {
	s := o.s
	if err := o.checkSources(); err != nil {
		return err
	}
	if s.index.IsOpen() {
		err := s.stop.closeIndex()
		if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoDirectory) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFailed) {
			return err // Badger is still at work
		}
	}
	if err := s.index.OpenEmpty(); err != nil {
		return fmt.Errorf("make the index again: %w", err)
	}
	if o.file == nil {
		s.table = table.New() // it may contain entries from the damaged index
	}
	err := s.index.Fill(record.Log{Journal: s.journal}, s.checkpoints.file.Put)
	o.matches = err == nil
	if err == nil {
		err = o.loadTable()
	}
	if errors.Is(err, ErrClosed) {
		return err // the next start tries again
	}
	if err != nil {
		err = disk.NotRead("build the index in "+s.path("index")+" again from the checkpoint and the journal", err)
		if errors.Is(err, ErrDamaged) {
			err = fmt.Errorf("%w: %s", err, disk.RestoreAdvice)
		}
		return err
	}
	return errors.Join(o.noteRestored(), o.leaveFormat(),
		s.index.RemoveNote(), disk.RemoveIfThere(s.path("restored")), disk.SyncDir(s.path("")))
}

// checkSources returns nil if checkpoint and log together have all records.
func (o *opening) checkSources() error {
	s := o.s
	first := s.journal.FirstSequence()
	if first == 1 && !o.restored {
		return nil
	}
	err := s.checkpoints.file.Check()
	switch {
	case err == nil, errors.Is(err, ErrClosed):
		return err
	case disk.Refusal(err) != 0:
		return fmt.Errorf("%w: read the checkpoint: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: the index must be built again, but the journal begins with record %d, and the checkpoint before it can't be used (%w): %s",
		ErrDamaged, first, err, disk.RestoreAdvice)
}

// compare compares an index that is not yet compared. The store answers requests
// at the same time.
func (o *opening) compare() {
	if !o.matches {
		if err := o.s.index.Compare(); err != nil {
			if !errors.Is(err, ErrClosed) {
				o.s.index.NoteDamage(err)
			}
			return
		}
	}
	close(o.compared)
}

// yield lets requests use the processor that the walk has kept busy since start. When
// the store is open, nobody waits for the walk: it uses at most 1/25 of the time, and
// less when other work delays it.
func (o *opening) yield(start time.Time) time.Time {
	runtime.Gosched()
	if isClosed(o.opened) {
		select {
		case <-time.After(min(24*time.Since(start), 100*time.Millisecond)):
		case <-o.s.closing:
		}
	}
	return time.Now()
}
