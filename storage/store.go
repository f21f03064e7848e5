package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/grants"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/notices"
	"gatehouse/storage/opening"
	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/rekey"
	"gatehouse/storage/sealed"
	"gatehouse/storage/surplus"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
	"gatehouse/storage/verify"
	"gatehouse/storage/writer"
)

// Options say how to open a store. The zero value will do.
type Options struct {
	KeyFile    string    // default DIR/key
	Key        keys.File // the key, for a process that can no longer read the file; the zero value: the file is read
	MaxPerUser int       // tokens that a user may hold; 0: any number
	Holder     string    // names this process to a second one that finds the store locked
	Segment    int64     // bytes of a new segment of the journal; 0: the journal's own default

	KeepEvents time.Duration // how long the audit log is kept; 0: for as long as there is room
	MostEvents int64         // bytes that it may take, in addition to the records that a rebuild needs; 0: no limit

	Checkpoints time.Duration // how often one is made; 0: once a day

	// Progress is called during a restore with the step, how much of it is done, and
	// how much it is in all; 0: unknown.
	Progress func(step string, done, of int)

	Early  bool // for a server: Open returns when tokens can be verified (see Opened), and what queries ask for is then read and kept
	Now    func() time.Time
	Boot   func() time.Duration // time since the system was started; nil: it always agrees with Now
	BootID string               // identifies that start
	Log    *slog.Logger
}

// Bounds are the [Options] that may be changed while the store is open.
type Bounds struct {
	MaxPerUser int
	KeepEvents time.Duration
	MostEvents int64
}

// SetBounds changes the bounds. The bound on tokens takes effect at once, those on the
// audit log at its next check.
func (s *Store) SetBounds(b Bounds) { s.bounds.Store(&b) }

// Store is an open data directory. Its methods may be called from many
// goroutines.
type Store struct {
	dir  string
	opts Options

	keys    *keys.Tokens
	seals   *keys.Seals
	keyring rekey.Keyring

	space   *disk.Space
	journal *journal.Journal
	index   *index.Index
	opening *opening.Opening
	writer  *writer.Writer
	noted   noted

	table    *table.Table
	views    *order.Views
	facts    *sealed.File // what the last stop has left of the views; nil: nothing
	reads    *read.Sources
	unlogged unloggedData
	notices  notices.Notices
	surplus  *surplus.Finder
	verifier *verify.Verifier
	clock    *clock.Clock
	bounds   atomic.Pointer[Bounds]

	uses *uses.Flusher

	upkeep      upkeep
	checkpoints checkpoints
	stop        stopping

	closing chan struct{}
}

// Open opens the data directory, and creates it if it does not exist.
//
// It returns a *disk.LockedError when another process holds the directory,
// keys.ErrMissing, keys.ErrExposed or keys.ErrWrong when the key file is at fault (it
// never makes a new key for a store that has data), and ErrDamaged, with file and
// offset, for a journal that does not verify. When the system can't read or write the
// files, for example because too many are open, the error is ErrUnavailable, and Open
// has changed nothing.
func Open(dir string, opts Options) (*Store, error) {
	return openStore(context.Background(), dir, opts, nil)
}

// HasData reports whether there is a store in the directory.
func HasData(dir string) (bool, error) {
	empty, err := disk.Empty(filepath.Join(dir, "store"))
	return !empty, err
}

// Now returns the time by the store's clock. It also returns a *wallclock.Doubt if
// the clock may be wrong: then nothing that can't be undone may rest on it.
func (s *Store) Now() (time.Time, error) { return s.clock.Look() }

// ConfirmTime accepts the clock as right because an administrator says so.
func (s *Store) ConfirmTime(by Actor) {
	s.clock.Confirm()
	s.Note(by, Event{Action: ActionClockConfirm})
}

// Past returns a time of the past for display: it is never in the future.
func (s *Store) Past(ms int64) int64 { return s.clock.Past(ms) }

// Grants returns what is stored to ask OAuth providers about people again.
func (s *Store) Grants() *grants.Grants { return s.opening.Grants }

// Dir returns the data directory.
func (s *Store) Dir() string { return s.dir }

// Writable returns nil if changes are possible, and otherwise the error that a
// change would return. Revocations may still be possible then.
func (s *Store) Writable() error {
	switch {
	case s.isClosing():
		return ErrClosed
	case s.opening.Err() != nil:
		return s.opening.Err()
	case s.writer.Failed() != nil:
		return s.writer.Failed()
	case s.index.Damaged():
		return ErrDamaged
	case s.index.Stuck():
		return fmt.Errorf("%w: the index is not usable until a restart: %s", ErrFailed, s.index.Said())
	}
	if err := s.space.Short(); err != nil {
		return err
	}
	if err := s.index.Behind(); err != nil {
		return err
	}
	if err := s.journal.Ready(); err != nil {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return nil
}

// stillOpen returns ErrClosed once the store is closing.
func (s *Store) stillOpen() error {
	if s.isClosing() {
		return ErrClosed
	}
	return nil
}

func (s *Store) isClosing() bool { return disk.IsClosed(s.closing) }

// path returns the path of a file of the store.
func (s *Store) path(name string) string { return filepath.Join(s.dir, "store", name) }

// view runs fn on the current state of the store.
func (s *Store) view(fn func(rd *read.Reader) error) error {
	if err := s.opening.Await(); err != nil {
		return err
	}
	// Take the lock before the view begins: the uses in the index and the uses in
	// the table must fit together.
	s.uses.RLock()
	defer s.uses.RUnlock()
	v, end, err := s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	err = fn(s.reads.At(v))
	if errors.Is(err, ErrDamaged) && !s.index.Damaged() {
		s.index.NoteDamage(err)
	}
	return err
}

// look returns what fn reads of the current state of the store.
func look[T any](s *Store, fn func(rd *read.Reader) (T, error)) (v T, err error) {
	err = s.view(func(rd *read.Reader) error {
		v, err = fn(rd)
		return err
	})
	return v, err
}

// Space is the disk space of a store, in bytes.
type Space struct {
	Journal int64
	Index   int64 // at most a minute old; 0 until the store is open, so that nobody waits for it
	Free    int64 // that the file system has left for the store
}

// Space returns how much of the disk the store uses, without the ballast, and how much is left.
func (s *Store) Space() Space {
	sp := Space{Journal: s.journal.Size(), Free: int64(min(s.space.Left(), 1<<62))}
	if s.IsOpen() {
		s.view(func(*read.Reader) error {
			sp.Index = s.index.Size()
			return nil
		})
	}
	return sp
}
