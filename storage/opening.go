package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"gatehouse/storage/checkpoint"
	"gatehouse/storage/disk"
	"gatehouse/storage/grants"
	"gatehouse/storage/journal"
	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/restore"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// opening takes a store from its files to the point where it answers every request. A
// start is the same sequence after a stop and after a kill: a stop only leaves less to
// catch up with.
//
//	begin        the marks of the directory, the key
//	    openLog      the log, verified from the table's position on
//	    useTable     the table's file, and the later changes in the log
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
//
// This file has the sequence. The steps are in opening_log.go, opening_table.go and
// opening_index.go.
type opening struct {
	s        *Store
	fresh    bool // there was no store: a new one is created
	restored bool // a restore has left only log and checkpoint
	early    bool // Open returns when tokens can be verified
	exact    bool // the table's file has all changes and all last uses

	// So far the log is verified only from the table's position on.
	partial bool

	file   *table.File // nil: no usable file
	logKey [32]byte
	useLog *uses.Log

	keptOld string // the old key that opened the keyring; empty: the key file did

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
	if s.opening.early {
		s.opening.start()
		s.stop.closed.Go(s.opening.run)
		return s, nil
	}
	s.stop.closed.Go(s.opening.run)
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
	if o.fresh, err = s.marks.Create(); err != nil {
		return err
	}
	if err := s.marks.CheckFormat(); err != nil { // before anything is changed
		return err
	}
	s.marks.RemoveRemains()
	os.RemoveAll(restore.Stage(s.dir)) // what a killed restore has left
	ring, err := o.loadKeys()
	if err != nil {
		return err
	}
	s.keys, s.seals, s.passwords = ring.TokenKeys(), ring.Seals(), ring.Passwords()
	if s.grants, err = grants.New(filepath.Join(s.dir, "grants"), ring); err != nil {
		return err
	}
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
	o.restored = !o.fresh && s.marks.IsRestored()
	if err := o.openLog(); err != nil {
		return err
	}
	if o.early = s.opts.Early && o.file != nil; o.early {
		return o.accept()
	}
	return nil
}

// run is the rest of the sequence.
func (o *opening) run() {
	s := o.s
	o.loadFile()
	err := o.openIndex()
	if err == nil && !o.early { // no other goroutine uses the store yet
		if err = o.accept(); err == nil {
			o.start()
		}
	}
	s.checkpoints.tableDue = !o.exact
	if err == nil && o.keptOld != "" {
		s.Note(Actor{Name: "keys"}, Event{Action: ActionKeyKept, Detail: "the store was opened with the old key"})
	}
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
	s.reads = &read.Sources{Table: s.table, Seals: s.seals, Clock: s.clock, KeyEnds: s.keys.Ends, Find: s.lookup}
	s.views = order.New(s.table, read.Lists{View: s.view}, s.keys.Has, s.keys.Ends)
	s.uses = newUses(s)
	s.verifier = newVerifier(s)
	s.stop.closed.Go(s.surplus.Run)
	s.stop.closed.Go(s.write)
	s.stop.closed.Go(s.upkeep.run)
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
		// An old key opens the keyring in a checkpoint from before a rotation.
		keyring, err := os.ReadFile(s.path("keyring"))
		s.checkpoints.due.Store(err == nil && !s.checkpoints.file.HasKeyring(keyring))
	}
	return s.marks.NoteFirstStart(s.seals, s.clock.Now())
}

// await waits until the store answers every request. It returns the reason when the
// opening fails, or ErrClosed.
func (o *opening) await() error {
	if isClosed(o.opened) {
		return o.err // also when the store is closing
	}
	select {
	case <-o.opened:
		return o.err
	case <-o.s.closing:
		return ErrClosed
	}
}

// awaitTable waits until the table has all tokens. It returns the reason when
// that never happens.
func (o *opening) awaitTable() error {
	select {
	case <-o.loaded:
		return nil
	default:
	}
	select {
	case <-o.loaded:
		return nil
	case <-o.opened: // the table is loaded, or never will be
		return o.err
	case <-o.s.closing:
		return ErrClosed
	}
}

// waitLoaded is how long WhenLoaded waits.
const waitLoaded = 5 * time.Second

// WhenLoaded waits up to waitLoaded for the table to have all tokens, and reports
// whether it has them.
func (s *Store) WhenLoaded() bool {
	select {
	case <-s.opening.loaded:
		return true
	default:
	}
	select {
	case <-s.opening.loaded:
		return true
	case <-s.closing:
	case <-time.After(waitLoaded):
	}
	return false
}

// Opened waits until a store that was opened early is completely open. It returns
// ErrOpening when the context ends first. Any other error says that the store can't be
// opened: the caller should then close the store.
func (s *Store) Opened(ctx context.Context) error {
	select {
	case <-s.opening.opened:
		return s.opening.err
	default:
	}
	select {
	case <-s.opening.opened:
		return s.opening.err
	case <-ctx.Done():
		return ErrOpening
	}
}

// IsOpen reports whether all of the store is open.
func (s *Store) IsOpen() bool { return isClosed(s.opening.opened) && s.opening.err == nil }

// failed returns why the store can't be opened, if that is known.
func (o *opening) failed() error {
	if isClosed(o.opened) {
		return o.err
	}
	return nil
}
