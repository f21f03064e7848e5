// Package opening takes a store from its files to the point where it answers every
// request. A start is the same sequence after a stop and after a kill: a stop only leaves
// less to catch up with.
//
//	Begin        the marks of the directory, the key; the log of uses is opened
//	    openJournal  journal.Open verifies the journal from the table's position on, and
//	                 cuts off a torn last batch
//	        useTable     the table's file, and the later changes in the journal
//	    Accept       for an early open: storage.Open calls Start and returns, the server
//	                 takes its port, and tokens are verified
//	Run
//	    loadFile     the rest of the table's file
//	    openIndex    verifyJournal, if only a part was verified; the index is verified,
//	                 opened, and catches up, or is filled again
//	        loadTable    the tokens and their last uses from the index's records, if the
//	                     file lacked any
//	    Accept, Start    if the open was not early
//	    Done         every request is answered; storage.Open returns now, unless it was
//	                 early. The store recovers the uses that are in their log and not in
//	                 the index
//	    compare      after a stop: checks the index against the counts in the journal
//
// The rest of storage.Open is in storage/open.go: it takes the lock of the directory before
// Begin, and its accept, start and opened are what the store does at Accept, Start and Done.
//
// Table, index and checkpoint each name the position of the journal up to which they have all
// records. Every start compares that position with the journal. A file with an older position
// catches up. If the journal has a different record at the file's position, the file belongs to
// another history, and is built again. A position beyond the end of the journal proves that the
// journal has lost acknowledged records, and the store is refused. Each file is compared with
// the journal, never with another file: two files restored from an older copy would agree with
// each other.
//
// Verifying the index takes about a second for some millions of tokens, and about ten
// seconds after a kill. A server that opens the store early answers from the table
// during that time; callers that need the index wait.
//
// This file has the sequence: see [Opening.Begin] and [Opening.Run]. The steps are in
// journal.go, table.go and index.go. The package owns the order of the steps, and none of the
// files. It never changes a record of the journal, and does not know what a store does.
package opening

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"gatehouse/storage/checkpoint"
	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/grants"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/marks"
	"gatehouse/storage/rekey"
	"gatehouse/storage/restore"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// Options say what to open, and what the store does at the steps.
type Options struct {
	Dir        string    // the data directory
	KeyFile    string    // the key file
	Key        keys.File // its key, for a process that can't read the file
	Segment    int64     // bytes of a new segment of the journal; 0: the journal's own default
	AllowEarly bool      // see Early
	Log        *slog.Logger
	Closing    <-chan struct{} // ends the opening with [disk.ErrClosed]

	Space *disk.Space
	Clock *clock.Clock

	Accept func() error // called once the store is not refused
	Start  func()       // begins the store's own work; from here on the table is not replaced
	Done   func(error)  // called when every request is answered, or the opening has failed
}

// Opening is the start of one store, and what it has opened.
type Opening struct {
	Options

	Tokens     *keys.Tokens
	Seals      *keys.Seals
	Passwords  keys.Passwords
	Grants     *grants.Grants
	Attempts   [32]byte // the key for the names of failed logins
	Notices    [32]byte // the key for the ids of notices
	Marks      *marks.Dir
	Journal    *journal.Journal
	Index      *index.Index
	Table      *table.Table
	UseLog     *uses.Log
	Checkpoint checkpoint.File

	KeptOld string      // the old key that opened the keyring; empty: the key file did
	Early   bool        // tokens can be verified before Run
	Exact   bool        // the table's file has all changes and all last uses
	Closed  bool        // the last program closed the index, when it had all of the journal; read it only after Opened
	File    *table.File // of the table; nil: no usable file

	fresh      bool // there was no store: a new one is created
	restored   bool // a restore has left only journal and checkpoint
	partial    bool // so far the journal is verified only from the table's position on
	journalKey [32]byte

	loaded   chan struct{} // closed when the table has all tokens and last uses
	opened   chan struct{} // closed when every request is answered, or the opening has failed
	err      error         // why it failed; read it only after opened is closed
	matches  bool          // the index was compared with the contents that it must hold
	compared chan struct{} // closed when the index was compared and matched
}

// New returns an opening that has not begun.
func New(o Options) *Opening {
	return &Opening{
		Options: o, Marks: marks.In(filepath.Join(o.Dir, "store")), Table: table.New(),
		loaded: make(chan struct{}), opened: make(chan struct{}), compared: make(chan struct{}),
	}
}

// Begin opens the journal and takes the table. The caller must call Close, also after an error.
func (o *Opening) Begin() (err error) {
	if o.fresh, err = o.Marks.MarkIfNew(); err != nil {
		return err
	}
	if err := o.Marks.CheckFormat(); err != nil { // before anything is changed
		return err
	}
	o.Marks.RemoveRemains()
	os.RemoveAll(restore.Stage(o.Dir)) // what a killed restore has left
	ring, err := o.loadKeys()
	if err != nil {
		return err
	}
	o.Tokens, o.Seals, o.Passwords = ring.TokenKeys(), ring.Seals(), ring.Passwords()
	if o.Grants, err = grants.New(filepath.Join(o.Dir, "grants"), ring); err != nil {
		return err
	}
	o.Attempts, o.Notices, o.journalKey = ring.Derive("attempts"), ring.Derive("notices"), ring.Derive("journal")
	o.Checkpoint = checkpoint.File{
		Path: o.path("checkpoint"), Key: ring.Derive("snapshots"), Stop: o.stillOpen,
		Has: func(at journal.Position) error { return o.Journal.Has(context.Background(), at) },
	}
	o.Space.KeepBallast()
	if o.UseLog, err = uses.Open(o.path("uses"), o.Seals, o.Log); err != nil {
		return fmt.Errorf("open the log of uses: %w", err)
	}
	o.Index = o.newIndex()
	o.restored = !o.fresh && o.Marks.IsRestored()
	if err := o.openJournal(); err != nil {
		return err
	}
	if o.Early = o.AllowEarly && o.File != nil; o.Early {
		return o.Accept()
	}
	return nil
}

// Run is the rest of the sequence. If it was not opened early, it also calls Accept and
// Start.
func (o *Opening) Run() {
	o.loadFile()
	err := o.openIndex()
	if err == nil && !o.Early { // no other goroutine uses the store yet
		if err = o.Accept(); err == nil {
			o.Start()
		}
	}
	o.err = disk.Explain(err)
	o.Done(o.err)
	close(o.opened)
	if err != nil {
		if o.Early && !errors.Is(err, disk.ErrClosed) {
			o.Log.Error("the store can't be opened", "error", o.err)
		}
		return
	}
	debug.FreeOSMemory() // the garbage of verifying the index
	o.compare()
}

// Close closes what was opened, the index by the time given.
func (o *Opening) Close(end time.Time) error {
	var errs []error
	if o.Index != nil && o.Index.IsOpen() {
		errs = append(errs, o.Index.Close(end))
	}
	if o.Index != nil {
		o.Index.Stop()
	}
	if o.Journal != nil {
		errs = append(errs, o.Journal.Close())
	}
	if o.UseLog != nil {
		errs = append(errs, o.UseLog.Close())
	}
	if o.File != nil {
		errs = append(errs, o.File.Close())
	}
	return errors.Join(errs...)
}

// loadKeys opens the keyring. It logs which key did so.
func (o *Opening) loadKeys() (keys.Ring, error) {
	ring, old, err := rekey.Load(o.path("keyring"), o.KeyFile, o.Key, keys.Missing(o.fresh))
	if err != nil {
		return ring, err
	}
	if f, err := rekey.Key(o.KeyFile, o.Key); err == nil {
		o.Log.Info("the key opens the store", "file", f.Name(), "id", f.ID(), "token_key", fmt.Sprintf("%02x", ring.Current))
	}
	if old != "" {
		o.Log.Warn("the store was opened with an old key, because a rotation was interrupted or an older keyring was put back; from now on only the present key opens it, and its token keys are unchanged",
			"old", old, "key", o.KeyFile, "advice", "run `gatehouse key rotate` again")
		o.KeptOld = old
	}
	return ring, nil
}

// path returns the path of a file of the store.
func (o *Opening) path(name string) string { return filepath.Join(o.Dir, "store", name) }

// stillOpen returns [disk.ErrClosed] once the store is closing.
func (o *Opening) stillOpen() error {
	if disk.IsClosed(o.Closing) {
		return disk.ErrClosed
	}
	return nil
}
