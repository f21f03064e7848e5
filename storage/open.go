package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/opening"
	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/surplus"
	"gatehouse/storage/wallclock"
	"gatehouse/storage/writer"
)

// openStore opens a directory, and gives up with the error of ctx when ctx ends. It
// calls check, unless that is nil, with the end of the journal, and refuses the store if
// check returns an error.
func openStore(ctx context.Context, dir string, opts Options, check func(end journal.Position) error) (*Store, error) {
	s, err := begin(ctx, dir, opts)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, s.stop.quit)()
	if check != nil {
		if err := check(s.opening.Journal.End()); err != nil {
			return nil, errors.Join(err, s.stop.release())
		}
	}
	if s.opening.Early {
		s.start()
		s.stop.running.Go(s.opening.Run)
		return s, nil
	}
	s.stop.running.Go(s.opening.Run)
	<-s.opening.Opened()
	if err := s.opening.Err(); err != nil {
		if errors.Is(err, ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, errors.Join(err, s.stop.abandon())
	}
	return s, nil
}

// begin opens the journal and takes the table.
func begin(ctx context.Context, dir string, opts Options) (*Store, error) {
	s, err := newStore(dir, opts)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, s.stop.quit)()
	if err := s.opening.Begin(); err != nil {
		if errors.Is(err, ErrClosed) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, disk.Explain(errors.Join(err, s.stop.release()))
	}
	return s, nil
}

// newStore locks the directory. The opening reads its contents.
func newStore(dir string, opts Options) (*Store, error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.Checkpoints == 0 {
		opts.Checkpoints = checkpointEvery
	}
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
	s := &Store{dir: dir, opts: opts, closing: make(chan struct{})}
	s.SetBounds(Bounds{opts.MaxPerUser, opts.KeepEvents, opts.MostEvents})
	s.writer = writer.New(s.closing, opts.Log)
	s.checkpoints.s, s.stop.s = s, s
	s.upkeep.init(s, opts.Log)
	s.surplus = surplus.New(surplus.Options{Revoked: s.revokedOf, Drop: s.dropRecords, Closing: s.closing, Failed: func(err error) {
		s.failed(slog.LevelWarn, "records of revoked tokens are not yet dropped", err)
	}})
	s.stop.within = closeWithin
	s.stop.lock, s.stop.quit = lock, sync.OnceFunc(func() { close(s.closing) })
	s.space = disk.NewSpace(s.path(""), disk.Watermark)
	s.clock = clock.New(clock.Options{
		Options: wallclock.Options{Now: opts.Now, Boot: opts.Boot, BootID: opts.BootID},
		File:    s.path("clock"), Space: s.space, Least: index.Floor, Log: opts.Log,
		Note: func(doubt error) {
			s.Note(Actor{Name: "clock"}, Event{Action: ActionClockDoubt, Detail: doubt.Error()})
		},
	})
	s.opts.Now = s.clock.Time
	s.opening = opening.New(opening.Options{
		Dir: dir, KeyFile: opts.KeyFile, Key: opts.Key, Segment: opts.Segment, AllowEarly: opts.Early,
		Log: opts.Log, Closing: s.closing, Space: s.space, Clock: s.clock,
		Accept: s.accept, Start: s.start, Done: s.opened,
	})
	return s, nil
}

// accept starts what needs an accepted store.
func (s *Store) accept() error {
	s.clock.Accepted()
	s.journal, s.seals = s.opening.Journal, s.opening.Seals
	s.checkpoints.accept(s.opening.Checkpoint)
	return s.opening.Marks.NoteFirstStart(s.seals, s.clock.Now())
}

// start begins the store's own background work. From here on, the table is not
// replaced.
func (s *Store) start() {
	o := s.opening
	s.keys = o.Tokens
	s.keyring.Ring, s.keyring.Key, s.keyring.Held, s.keyring.Tokens = s.path("keyring"), o.KeyFile, o.Key, o.Tokens
	s.index, s.table = o.Index, o.Table
	s.reads = &read.Sources{Table: s.table, Clock: s.clock, KeyEnds: s.keys.Ends, Find: s.lookup}
	s.views = order.New(s.table, read.Lists{View: s.view}, s.keys.Has, s.keys.Ends, s.closing)
	s.resume()
	s.uses = newUses(s)
	s.verifier = newVerifier(s)
	s.initUnlogged()
	s.initNotices()
	s.stop.running.Go(s.surplus.Run)
	s.stop.running.Go(s.write)
	s.stop.running.Go(s.upkeep.run)
}

// resume gives the views what the last stop has left of them, if nothing has changed since.
// Their file is removed before anything changes, so that no later start finds it.
func (s *Store) resume() {
	o, name := s.opening, s.path("facts")
	f, err := order.OpenFile(name, s.seals)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	err = errors.Join(err, disk.RemoveIfThere(name), disk.SyncDir(s.path("")))
	if err == nil && (!o.Exact || f.Moment != o.File.Moment) {
		err = errors.New("the store has changed since")
	}
	if err != nil {
		o.Log.Debug("what queries ask for is read again", "because", err)
		if f != nil {
			f.Close()
		}
		return
	}
	s.facts = f
	s.views.Resume(f, func() bool { return o.Await() == nil && o.Closed }, func() int64 {
		latest, _ := s.clock.Plausible()
		return latest
	})
}

// opened is called when every request is answered, or the opening has failed.
func (s *Store) opened(err error) {
	switch o := s.opening; {
	case err == nil:
		s.checkpoints.tableDue = !o.Exact
		if o.KeptOld != "" {
			s.Note(Actor{Name: "keys"}, Event{Action: ActionKeyKept, Detail: "the store was opened with the old key"})
		}
		s.stop.running.Go(func() {
			s.upkeep.recoverUses()
			s.upkeep.runViews()
		})
	case o.Early:
		s.uses.Recover(ErrClosed) // nobody waits for them
	}
}

// Loaded is closed when verification needs nothing but memory: shortly after Open.
func (s *Store) Loaded() <-chan struct{} { return s.opening.Loaded() }

// Opened waits until a store that was opened early is completely open. It returns
// ErrOpening when the context ends first. Any other error says that the store can't be
// opened: the caller should then close the store.
func (s *Store) Opened(ctx context.Context) error {
	if disk.IsClosed(s.opening.Opened()) {
		return s.opening.Err()
	}
	select {
	case <-s.opening.Opened():
		return s.opening.Err()
	case <-ctx.Done():
		return ErrOpening
	}
}

// IsOpen reports whether all of the store is open.
func (s *Store) IsOpen() bool { return s.opening.IsOpen() }
