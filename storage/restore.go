package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Restored says what a restore did.
type Restored struct {
	backup.Manifest
	Revoked int      // tokens and users whose end came after the backup, and holds
	Unread  []string // what could not be read of the older store: an end that only this had is lost
	Kept    string   // where the older store is now; empty: there was none
	NoKey   string   // where the key file must be put; empty: it is there
	Former  bool     // the backup is of a version that does not authenticate its date, and has no audit log
}

// Restore puts a backup into a data directory that no process holds. Into an
// empty one it goes as it is. Over an older store it goes with the ends that this
// knows (see ends), which hold; the older store is moved aside.
//
// A backup that is damaged, cut off, put together from several or of another
// installation is refused, and the directory is as it was. So it is when ctx ends.
func Restore(ctx context.Context, from io.Reader, dir string, opts Options) (r Restored, err error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int, int) {}
	}
	in, err := backup.Open(from) // before anything is made
	if err != nil {
		return r, err
	}
	r.Manifest, r.Former = in.Manifest, in.Former()
	made, err := makeDir(dir)
	if err != nil {
		return r, err
	}
	defer func() {
		if err != nil && made {
			os.Remove(filepath.Join(dir, "lock"))
			os.Remove(dir)
		}
	}()
	if err := disk.CheckPrivate(dir); err != nil {
		return r, err
	}
	lock, err := disk.Lock(dir, opts.Holder)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	stage := filepath.Join(dir, stageName)
	if err := os.RemoveAll(stage); err != nil {
		return r, err
	}
	old, err := lookAtOld(ctx, dir, in.Keyring, opts)
	if err != nil {
		return r, err
	}
	r.Unread = old.unread
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := stageBackup(ctx, stage, in, old, opts); err != nil {
		return r, err
	}
	if err := carryTimes(dir, stage); err != nil {
		return r, err
	}
	if disk.Exists(opts.KeyFile) {
		if r.Revoked, err = finishStage(ctx, stage, opts, old, r.Manifest); err != nil {
			return r, err
		}
	} else {
		r.NoKey = opts.KeyFile
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	r.Kept, err = swapStores(dir, stage)
	return r, err
}

// stageName is where a restore makes the new store. What a killed one left there, the
// next start or restore removes.
const stageName = "restore.tmp"

func makeDir(dir string) (made bool, err error) {
	made = !disk.Exists(dir)
	return made, os.MkdirAll(dir, 0o700)
}

// older is what a restore reads of the store that it replaces: the records in its
// checkpoint and then in its journal, and those in its index. The journal alone would not
// do: it loses its oldest part, and may be what is damaged or gone.
type older struct {
	record.Ends
	last   uint64   // record of the journal
	unread []string // what could not be read
	found  bool     // a record that verifies
	seals  *keys.Seals

	snapshotKey *[32]byte // nil: the key file is not there
}

// takeOp notes what an operation ends.
func (e *older) takeOp(o record.Op) error {
	if len(o.Key) == 0 || o.Value == nil || bytes.IndexByte([]byte("tue"), o.Key[0]) < 0 {
		return nil
	}
	b, err := e.seals.Open(o.Key, o.Value)
	if err != nil {
		return nil // of a damaged store, as much as can be read
	}
	e.found = true
	e.Take(o.Key, b)
	return nil
}

// lookAtOld reads the store that is in the directory, if there is one, and
// makes sure that the key fits the backup, whose keyring it is given.
func lookAtOld(ctx context.Context, dir string, sealed []byte, opts Options) (e older, err error) {
	store, keyFile := filepath.Join(dir, "store"), opts.KeyFile
	fresh, err := disk.Empty(store)
	if err != nil {
		return e, err
	}
	file, err := keys.ReadFile(keyFile)
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		return e, nil
	case errors.Is(err, os.ErrNotExist):
		return e, fmt.Errorf("%w: %s does not exist, and without it nobody can tell what was revoked in the store that is in %s: put it back, or move that store away",
			keys.ErrMissing, keyFile, store)
	case err != nil:
		return e, err
	}
	ring, err := file.Open("the backup's keyring", sealed)
	if err != nil {
		return e, err
	}
	key := ring.Derive("snapshots")
	if fresh {
		return older{snapshotKey: &key}, nil
	}
	// A keyring that is damaged or gone is a reason to restore. The backup's has the
	// same root, if the store is of the same installation: what is read then verifies.
	var unread []string
	name := filepath.Join(store, "keyring")
	b, err := os.ReadFile(name)
	if err == nil {
		var own keys.Ring
		if own, err = file.Open(name, b); err == nil && own.Root != ring.Root {
			return e, fmt.Errorf("%w: the backup is of another installation than the store in %s", keys.ErrWrong, dir)
		}
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, ErrDamaged):
		unread = append(unread, name)
	case err != nil:
		return e, err
	}
	e, err = readOlder(ctx, store, ring, opts)
	if err == nil {
		err = e.readIndex(ctx, dir)
	}
	e.snapshotKey = &key
	e.unread = append(unread, e.unread...)
	if err == nil && len(unread) > 0 && !e.found {
		err = fmt.Errorf("%w: nothing in %s can be read with the backup's keys, so it may be of another installation: move it away, and restore again",
			ErrDamaged, store)
	}
	return e, err
}

// readOlder reads also a store that is damaged, as far as it can be read.
func readOlder(ctx context.Context, store string, ring keys.Ring, opts Options) (older, error) {
	e := older{Ends: record.NewEnds(), seals: ring.Seals()}
	checkpoint, dir := filepath.Join(store, "checkpoint"), filepath.Join(store, "journal")
	var covered uint64 // by the checkpoint
	f, err := os.Open(checkpoint)
	if err == nil {
		covered, err = e.readCheckpoint(ctx, f)
		f.Close()
	}
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.unread = append(e.unread, checkpoint)
	}
	lost, err := journal.Salvage(dir, ring.Derive("journal"), nil, func(jr journal.Record) error {
		e.last, e.found = max(e.last, jr.Sequence), true
		if jr.Sequence%4096 == 0 {
			opts.Progress("Reading the records of the older store", int(jr.Sequence), 0)
		}
		if jr.Sequence > covered { // else what the checkpoint says of a user is later
			if _, ops, err := record.CutEntry(jr); err == nil {
				record.EachOp(ops, e.takeOp)
			}
		}
		return ctx.Err()
	})
	if ctx.Err() != nil {
		return e, ctx.Err()
	}
	for _, c := range lost {
		e.unread = append(e.unread, fmt.Sprintf("%s at byte %d", c.File, c.Offset))
	}
	if errors.Is(err, journal.ErrEmpty) || err == nil && e.last == 0 {
		err = nil
		if !disk.Exists(filepath.Join(store, "restored")) { // else it was to begin with the first start
			e.unread = append(e.unread, dir)
		}
	}
	return e, err
}

// read returns the record up to which the checkpoint has everything; 0 when
// not all of it can be read.
func (e *older) readCheckpoint(ctx context.Context, f io.Reader) (covered uint64, err error) {
	in, err := backup.Open(f)
	if err != nil {
		return 0, err
	}
	err = in.Records(func(ops []byte) error {
		record.EachOp(ops, e.takeOp)
		return ctx.Err()
	})
	if err != nil {
		return 0, err
	}
	return in.Manifest.Sequence, nil
}

// readIndex adds the ends that are in the index. When checkpoint and journal were read,
// it knows of no more; but of a journal that was taken away, or of its last segments, it
// may be all that is left. An index that can't be read adds nothing.
func (e *older) readIndex(ctx context.Context, dir string) error {
	stage := filepath.Join(dir, stageName)
	defer os.RemoveAll(stage)
	also := older{Ends: record.NewEnds(), seals: e.seals}
	err := index.Salvage(filepath.Join(dir, "store", "index"), stage, "ute", func(key, stored []byte) error {
		also.takeOp(record.Op{Key: key, Value: stored})
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	e.found = e.found || also.found
	e.Join(also.Ends)
	return nil
}

// stageBackup lays a store out that has the backup as its checkpoint, its journal, and
// no index yet.
func stageBackup(ctx context.Context, stage string, in *backup.Reader, old older, opts Options) error {
	store := filepath.Join(stage, "store")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	step := func() error {
		opts.Progress("Reading the backup, MB", int(in.Offset()/1e6), 0)
		return ctx.Err()
	}
	if err := stageCheckpoint(filepath.Join(store, "checkpoint"), in, step); err != nil {
		return err
	}
	if old.snapshotKey != nil { // else the first start looks
		if err := in.Authentic(*old.snapshotKey); err != nil {
			return err
		}
	}
	restored := in.Manifest.Log.String()
	if !in.Manifest.HasLog() {
		restored = strconv.FormatUint(max(in.Manifest.Sequence, old.last), 10)
	} else if err := stageJournal(filepath.Join(store, "journal"), in, step); err != nil {
		return err
	}
	if err := in.AtEnd(); err != nil {
		return err
	}
	if err := disk.WriteFile(filepath.Join(store, "keyring"), in.Keyring); err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(store, "restored"), []byte(restored))
}

func stageCheckpoint(file string, in *backup.Reader, step func() error) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = in.CopyTo(f); err == nil {
		err = in.Records(func([]byte) error { return step() })
	}
	in.CopyTo(nil)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func stageJournal(dir string, in *backup.Reader, step func() error) error {
	l, err := journal.NewLayout(dir)
	if err != nil {
		return err
	}
	err = in.Log(func(p journal.Piece) error { return errors.Join(l.Put(p), step()) }, l.Reset)
	return errors.Join(err, l.Close())
}

// carryTimes brings over what the older store knows of the clock.
func carryTimes(dir, stage string) error {
	b, err := os.ReadFile(filepath.Join(dir, "store", "clock"))
	if err != nil {
		return nil // it can't be read: then nothing is known
	}
	return disk.WriteFile(filepath.Join(stage, "store", "clock"), b)
}

// finishStage opens the staged store, which builds its index, and ends there
// what has ended since the backup: before the store is in its place.
func finishStage(ctx context.Context, stage string, opts Options, old older, m backup.Manifest) (n int, err error) {
	opts.Progress("Building the index", 0, 0)
	s, err := openStore(ctx, stage, opts, func(end journal.Position) error {
		if m.HasLog() && end != m.Log {
			return &backup.Error{Reason: "its journal goes on where it should end"}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		// That it was opened here is no start.
		err = errors.Join(err, s.Close(), disk.WriteFile(s.path("restored-at"), nil))
	}()
	by, all := Actor{Name: "restore"}, len(old.Tokens)+len(old.Users)
	n, err = s.apply(by, old.Ends, func(done int) error {
		opts.Progress("Bringing over what has ended", done, all)
		return ctx.Err()
	})
	if err != nil {
		return n, err
	}
	detail := fmt.Sprintf("of a backup that ends with event %d", m.Last())
	if old.last > 0 {
		detail += fmt.Sprintf(", over a store that ended with event %d", old.last)
	}
	return n, s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionRestore, Detail: detail})
		return ctx.Err()
	})
}

// swapStores puts the staged store in its place in one step, and the older one
// aside.
func swapStores(dir, stage string) (kept string, err error) {
	staged, store := filepath.Join(stage, "store"), filepath.Join(dir, "store")
	fresh, err := disk.Empty(store)
	if err != nil {
		return "", err
	}
	if fresh {
		if err := disk.RemoveIfThere(store); err != nil {
			return "", err
		}
		return "", errors.Join(os.Rename(staged, store), disk.SyncDir(dir))
	}
	// The staged store goes to where the older one will be, and then they change
	// places: no step leaves the older one where the next restore clears up.
	kept = filepath.Join(dir, "before-restore-"+time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.Rename(staged, kept); err != nil {
		return "", err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, kept, unix.AT_FDCWD, store, unix.RENAME_EXCHANGE); err != nil {
		return "", errors.Join(fmt.Errorf("put the restored store in place: %w", err), os.RemoveAll(kept))
	}
	return kept, disk.SyncDir(dir)
}
