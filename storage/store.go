package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options say how to open a store. The zero value will do.
type Options struct {
	KeyFile    string // default DIR/key
	MaxPerUser int    // tokens that a user may hold; default 1000
	Holder     string // how a second process is told who holds the store
	Now        func() time.Time
	Log        *slog.Logger
}

// Store is an open data directory. Its methods may be called from many
// goroutines.
type Store struct {
	dir    string
	opts   Options
	lock   *os.File
	db     *badger.DB
	keys   *keySet
	kid    byte // of new tokens
	seals  *sealer
	secret passwords

	table    table
	owners   owners
	attempts attempts

	changes chan *change
	failed  atomic.Bool   // a write was lost: see ErrFailed
	loaded  chan struct{} // closed when the table is whole
	closing chan struct{}
	closed  sync.WaitGroup // the writer, the flusher and the loading
	once    sync.Once
}

// format is the version of the table of keys.
const format = "1"

// Open opens the data directory and makes it when it is not there.
//
// It returns a *LockedError when another process holds the directory, and
// ErrKeyMissing, ErrKeyExposed or ErrWrongKey when the key file is at fault;
// it never makes a new key for a store that has data.
func Open(dir string, opts Options) (*Store, error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.MaxPerUser == 0 {
		opts.MaxPerUser = 1000
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDir(dir, opts.Holder)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: opts, lock: lock,
		changes: make(chan *change, 1024),
		loaded:  make(chan struct{}),
		closing: make(chan struct{}),
	}
	if err := s.open(); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		lock.Close()
		return nil, err
	}
	s.closed.Add(3)
	go s.load()
	go s.write()
	go s.flushEverySecond()
	return s, nil
}

func (s *Store) open() error {
	path := filepath.Join(s.dir, "store")
	fresh, err := empty(path)
	if err != nil {
		return err
	}
	keys, err := loadKeys(s.dir, s.opts.KeyFile, fresh)
	if err != nil {
		return err
	}
	s.keys = newKeySet(keys.Tokens)
	s.kid = keys.Current
	s.seals = newSealer(keys.derive("records"))
	s.secret = passwords{newGCM(keys.derive("passwords"))}
	s.attempts.key = keys.derive("attempts")

	if s.db, err = badger.Open(badgerOptions(path, s.opts.Log)); err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if err := s.checkFormat(); err != nil {
		return err
	}
	return s.loadOwners()
}

// badgerOptions keep memory and disk small: one host, small values.
func badgerOptions(path string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(path).
		WithLogger(badgerLog{log}).
		WithSyncWrites(true).
		WithDetectConflicts(false). // one writer; sessions have keys of their own
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithValueThreshold(64 << 10).
		WithValueLogFileSize(16 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0). // the kernel's page cache serves; see RssAnon
		WithIndexCacheSize(16 << 20).
		WithNumCompactors(2).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false)
}

// checkFormat marks a new store, and refuses one of another format.
func (s *Store) checkFormat() error {
	key := []byte("m format")
	return s.db.Update(func(txn *badger.Txn) error {
		v, ok, err := read(txn, key)
		if err != nil {
			return err
		}
		if !ok {
			for range scan(txn, nil, nil) {
				return fmt.Errorf("%w: %s has no format: restore it from a backup", ErrDamaged, s.dir)
			}
			return txn.Set(key, []byte(format))
		}
		if string(v) != format {
			return fmt.Errorf("%s has format %q; this gatehouse reads format %s: use the program that made it", s.dir, v, format)
		}
		return nil
	})
}

// Close waits for the changes under way, flushes lastUsed and closes the
// store. Changes asked for later return ErrClosed.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closing)
		s.closed.Wait()
		err = errors.Join(s.flush(context.Background()), s.db.Close(), s.lock.Close())
	})
	return err
}

// audit logs a change that has been made.
func (s *Store) audit(by Actor, action, kind, object string) {
	s.opts.Log.Info(action, kind, object, "by", by.Name, "address", by.Address)
}

// Dir returns the data directory.
func (s *Store) Dir() string { return s.dir }

// Writable returns nil while changes can be made, and ErrFailed or ErrClosed.
func (s *Store) Writable() error {
	if s.isClosing() {
		return ErrClosed
	}
	if s.failed.Load() {
		return ErrFailed
	}
	return nil
}

func (s *Store) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Loaded is closed when verification needs Badger no more: shortly after Open.
func (s *Store) Loaded() <-chan struct{} { return s.loaded }

func (s *Store) now() int64 { return s.opts.Now().UnixMilli() }

// HasData reports whether there is a store in the directory.
func HasData(dir string) (bool, error) {
	fresh, err := empty(filepath.Join(dir, "store"))
	return !fresh, err
}

// empty reports whether the directory has no entry, or does not exist.
func empty(dir string) (bool, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer d.Close()
	if _, err = d.Readdirnames(1); errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// badgerLog passes on Badger's warnings and errors.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, args ...any)   { l.log.Error("badger", "message", text(f, args)) }
func (l badgerLog) Warningf(f string, args ...any) { l.log.Warn("badger", "message", text(f, args)) }
func (badgerLog) Infof(string, ...any)             {}
func (badgerLog) Debugf(string, ...any)            {}

func text(f string, args []any) string { return strings.TrimSpace(fmt.Sprintf(f, args...)) }
