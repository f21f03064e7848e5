package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
	"gatehouse/storage/wallclock"
)

// Options say how to open a store. The zero value will do.
type Options struct {
	KeyFile    string // default DIR/key
	MaxPerUser int    // tokens that a user may hold; 0: any number
	Holder     string // how a second process is told who holds the store
	Segment    int64  // bytes of a new segment of the journal; 0: the journal's own default

	KeepEvents time.Duration // how long the audit log is kept; 0: for as long as there is room
	MostEvents int64         // bytes that it may take, beside what a rebuild needs; 0: any number

	Checkpoints time.Duration // how often one is made; 0: once a day

	// Progress is told how a restore goes on: the step, how much of it is done, and of
	// how much; 0: not known.
	Progress func(step string, done, of int)

	Early  bool // Open returns when tokens can be verified; see Opened
	Now    func() time.Time
	Boot   func() time.Duration // since the system was started; nil: it agrees with Now
	BootID string               // of that start
	Log    *slog.Logger
}

// Store is an open data directory. Its methods may be called from many
// goroutines.
type Store struct {
	dir  string
	opts Options
	lock *os.File

	keys       *keys.Tokens
	seals      *keys.Seals
	passwords  keys.Passwords
	journalKey [32]byte
	// snapshotKey authenticates checkpoints and backups.
	snapshotKey [32]byte
	format      string // of what is there; empty: not known

	journal *journal.Journal
	db      *badger.DB
	space   badgerSpace
	lag     lag

	early      bool          // it was opened early
	behind     bool          // the table that was left lacks changes or last uses: see takeTable
	unverified bool          // the journal is verified only from the table's position on
	opened     chan struct{} // closed when the index is open, or can't be opened
	late       error         // why it can't; to be read when opened is closed

	table     *table.Table
	left      *table.File // by the last stop or checkpoint; nil: none to go by
	limits    limits
	people    people
	order     order
	attempts  attempts
	sessions  sessions
	surplus   surplus
	stale     stale
	times     times
	oldEvents oldEvents
	files     sync.Mutex // held by OpenedFile, which reads before it writes

	writer *writer
	marks  marks
	counts counts

	useLog *uses.Log
	uses   *uses.Flusher

	stopWithin time.Duration // how long a stop may take to bring uses into Badger
	stop       stopping
	states     states
	badgerSaid said

	// Once compared is closed: no table has been left that the next start could go by.
	tableDue bool

	// When the last checkpoint was made, and how large the journal was then. They are
	// for the one that has set busy, and so is tableDue.
	checkpoint struct {
		busy atomic.Bool
		at   time.Time
		size int64
	}

	// What a listing shows and what verification says change together: the
	// writer holds it meanwhile, and a reader to begin.
	visible sync.RWMutex

	broken atomic.Bool // the index is damaged: see damaged
	loaded chan struct{}
	// unloadable is closed when the table can't be loaded.
	unloadable chan struct{}
	// compared is closed when the index has been compared with what the journal
	// says it must hold.
	compared chan struct{}
	closing  chan struct{}
	quit     func()         // closes it
	closed   sync.WaitGroup // the writer, the flusher and the loading
	using    sync.WaitGroup // whoever reads from Badger
	once     sync.Once
}

// Open opens the data directory and makes it when it is not there.
//
// It returns a *disk.LockedError when another process holds the directory,
// keys.ErrMissing, keys.ErrExposed or keys.ErrWrong when the key file is at fault (it
// never makes a new key for a store that has data), and ErrDamaged, with file
// and offset, for a journal that does not verify. When the system can't read or write
// the files, such as when too many are open, the error is ErrUnavailable, and nothing
// was changed.
func Open(dir string, opts Options) (*Store, error) {
	s, err := prepare(context.Background(), dir, opts)
	if err != nil {
		return nil, disk.Explain(err)
	}
	s.start()
	go s.load()
	return s, nil
}

// prepare opens the files, but those of the index of a store that is opened early. It
// gives up when ctx ends, with its error.
func prepare(ctx context.Context, dir string, opts Options) (*Store, error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.Checkpoints == 0 {
		opts.Checkpoints = checkpointEvery
	}
	clocks := wallclock.Options{Now: opts.Now, Boot: opts.Boot, BootID: opts.BootID}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	now := opts.Now
	opts.Now = func() time.Time { return within(now()) }
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := disk.CheckPrivate(dir); err != nil {
		return nil, err
	}
	lock, err := disk.Lock(dir, opts.Holder)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: opts, lock: lock,
		loaded:     make(chan struct{}),
		unloadable: make(chan struct{}),
		compared:   make(chan struct{}),
		closing:    make(chan struct{}),
		opened:     make(chan struct{}),
		order:      order{most: mostRecent},
		surplus:    newSurplus(),
		stopWithin: closeWithin,
	}
	s.writer = newWriter(s)
	s.quit = sync.OnceFunc(func() {
		s.visible.Lock()
		defer s.visible.Unlock()
		close(s.closing)
	})
	s.space.Space, s.space.dir = disk.NewSpace(s.path(""), disk.Watermark), s.path("index")
	s.states.init(opts.Log)
	s.times.options = clocks
	s.times.wanted.Store(true)
	s.forgetTable()
	defer context.AfterFunc(ctx, s.quit)()
	if err := s.open(); err != nil {
		if errors.Is(err, ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

// start has the store do what it does by itself, but load.
func (s *Store) start() {
	if !s.early {
		close(s.opened)
	}
	s.closed.Add(5)
	go s.dropSurplus()
	go s.recoverUses()
	s.writer.log = s.journal
	go s.writer.write()
	go s.flushEverySecond()
}

func (s *Store) open() error {
	fresh, err := s.fresh()
	if err != nil {
		return err
	}
	if err := s.checkFormat(); err != nil { // before anything is changed
		return err
	}
	s.removeRemains()
	ring, err := keys.Load(s.path("keyring"), s.opts.KeyFile, fresh)
	if err != nil {
		return err
	}
	s.keys, s.seals, s.passwords = ring.TokenKeys(), ring.Seals(), ring.Passwords()
	s.attempts.key = ring.Derive("attempts")
	s.journalKey = ring.Derive("journal")
	s.snapshotKey = ring.Derive("snapshots")

	s.space.KeepBallast()
	if s.useLog, err = uses.Open(s.path("uses"), s.seals, s.opts.Log); err != nil {
		return fmt.Errorf("open the log of uses: %w", err)
	}
	if err := s.openTruth(fresh); err != nil {
		return err
	}
	s.uses = s.newUses() // the table is not replaced any more
	s.timesOpened()
	s.openOldEvents()
	if err := s.noteRestored(); err != nil {
		return err
	}
	// A process that never runs for a day makes checkpoints all the same. One that the
	// journal can't go on from is as good as none.
	s.checkpoint.size = s.journal.Size()
	if m := s.lastCheckpoint(); m.Sequence+1 >= s.journal.FirstSequence() {
		s.checkpoint.at = time.UnixMilli(m.Created)
	}
	if !s.early && s.table.Owners.Len() == 0 {
		return s.loadOwners()
	}
	return nil
}

// Dir returns the data directory.
func (s *Store) Dir() string { return s.dir }

// Writable returns nil while changes can be made, and else the error that one
// would meet. Revocations may go on all the same.
func (s *Store) Writable() error {
	switch {
	case s.isClosing():
		return ErrClosed
	case s.failedLate() != nil:
		return s.failedLate()
	case s.writer.failed.Load() != nil:
		return *s.writer.failed.Load()
	case s.broken.Load():
		return ErrDamaged
	case s.space.stuck.Load():
		return fmt.Errorf("%w: the index is not usable until a restart: %s", ErrFailed, s.badgerSaid.latest())
	}
	if err := s.space.Short(); err != nil {
		return err
	}
	if err := s.lag.because(); err != nil {
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

func (s *Store) isClosing() bool { return isClosed(s.closing) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Loaded is closed when verification needs Badger no more: shortly after Open.
func (s *Store) Loaded() <-chan struct{} { return s.loaded }
