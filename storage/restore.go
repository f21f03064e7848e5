package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/journal"
)

// Restored says what a restore did.
type Restored struct {
	Manifest
	Revoked int      // tokens and users whose end came after the backup, and holds
	Unread  []string // what could not be read of the older store: an end that only this had is lost
	Kept    string   // where the older store is now; empty: there was none
	NoKey   string   // where the key file must be put; empty: it is there
}

// Restore puts a backup into a data directory that no process holds. Into an
// empty one it goes as it is. Over an older store it goes with the revocations
// that this store's journal has after the backup, which hold; the older store
// is moved aside.
//
// A backup that is damaged, cut off or of another installation is refused, and
// the directory is as it was.
func Restore(ctx context.Context, backup io.ReadSeeker, dir string, opts Options) (r Restored, err error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	m, sealed, err := inspect(backup) // before anything is made
	if err != nil {
		return r, err
	}
	r.Manifest = m
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return r, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	if err := CheckPrivate(dir); err != nil {
		return r, err
	}
	lock, err := lockDir(dir, opts.Holder)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	old, err := lookAtOld(dir, opts.KeyFile, sealed)
	if err != nil {
		return r, err
	}
	r.Unread = old.unread
	stage := filepath.Join(dir, "restore.tmp")
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := stageBackup(stage, backup, sealed, max(m.Sequence, old.last)); err != nil {
		return r, err
	}
	if err := carryTimes(dir, stage); err != nil {
		return r, err
	}
	if exists(opts.KeyFile) {
		if r.Revoked, err = finishStage(ctx, stage, opts, old); err != nil {
			return r, err
		}
	} else {
		r.NoKey = opts.KeyFile
	}
	r.Kept, err = swapStores(dir, stage)
	return r, err
}

// older is what a restore reads of the store that it replaces: the records in its
// checkpoint and then in its journal. The journal alone would not do: it loses its
// oldest part.
type older struct {
	ends
	last   uint64   // record of the journal
	unread []string // what could not be read
	found  bool     // a record that verifies
	seals  *sealer
}

// takeOp notes what an operation ends.
func (e *older) takeOp(o op) error {
	if len(o.key) == 0 || o.value == nil || bytes.IndexByte([]byte("tue"), o.key[0]) < 0 {
		return nil
	}
	b, err := e.seals.open(o.key, o.value)
	if err != nil {
		return nil // of a damaged store, as much as can be read
	}
	e.found = true
	e.take(o.key, b)
	return nil
}

// lookAtOld reads the store that is in the directory, if there is one, and
// makes sure that the key fits the backup.
func lookAtOld(dir, keyFile string, sealed []byte) (e older, err error) {
	store := filepath.Join(dir, "store")
	fresh, err := empty(store)
	if err != nil {
		return e, err
	}
	kek, err := readKeyFile(keyFile)
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		return e, nil
	case errors.Is(err, os.ErrNotExist):
		return e, fmt.Errorf("%w: %s does not exist, and without it nobody can tell what was revoked in the store that is in %s: put it back, or move that store away",
			ErrKeyMissing, keyFile, store)
	case err != nil:
		return e, err
	}
	keys, err := openKeyring("the backup's keyring", sealed, kek, keyFile)
	if err != nil || fresh {
		return e, err
	}
	// A keyring that is damaged or gone is a reason to restore. The backup's has the
	// same root, if the store is of the same installation: what is read then verifies.
	var unread []string
	file := filepath.Join(store, "keyring")
	b, err := os.ReadFile(file)
	if err == nil {
		var own keyring
		if own, err = openKeyring(file, b, kek, keyFile); err == nil && own.Root != keys.Root {
			return e, fmt.Errorf("%w: the backup is of another installation than the store in %s", ErrWrongKey, dir)
		}
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, ErrDamaged):
		unread = append(unread, file)
	case err != nil:
		return e, err
	}
	e, err = readOlder(store, keys)
	e.unread = append(unread, e.unread...)
	if err == nil && len(unread) > 0 && !e.found {
		err = fmt.Errorf("%w: nothing in %s can be read with the backup's keys, so it may be of another installation: move it away, and restore again",
			ErrDamaged, store)
	}
	return e, err
}

// readOlder reads also a store that is damaged, as far as it can be read.
func readOlder(store string, keys keyring) (older, error) {
	e := older{ends: newEnds(), seals: newSealer(keys.derive("records"))}
	checkpoint, dir := filepath.Join(store, "checkpoint"), filepath.Join(store, "journal")
	var m Manifest
	f, err := os.Open(checkpoint)
	if err == nil {
		err = readSnapshot(f, func(kind byte, data []byte) error {
			switch kind {
			case chunkManifest:
				return json.Unmarshal(data, &m)
			case chunkOps:
				eachOp(data, e.takeOp)
			}
			return nil
		})
		f.Close()
	}
	if err != nil {
		m.Sequence = 0 // what it does not have, the journal may
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.unread = append(e.unread, checkpoint)
	}
	lost, err := journal.Salvage(dir, keys.derive("journal"), nil, func(jr journal.Record) error {
		e.last, e.found = max(e.last, jr.Sequence), true
		if jr.Sequence <= m.Sequence {
			return nil // what the checkpoint says of a user is later
		}
		if _, ops, err := cutRecord(jr); err == nil {
			eachOp(ops, e.takeOp)
		}
		return nil
	})
	for _, c := range lost {
		e.unread = append(e.unread, fmt.Sprintf("%s at byte %d", c.File, c.Offset))
	}
	if errors.Is(err, journal.ErrEmpty) || err == nil && e.last == 0 {
		e.unread, err = append(e.unread, dir), nil
	}
	return e, err
}

// stageBackup lays a store out that has the backup as its checkpoint, and no
// index and no journal yet.
func stageBackup(stage string, backup io.Reader, sealed []byte, after uint64) error {
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	store := filepath.Join(stage, "store")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(store, "checkpoint"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, backup)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(store, "keyring"), bytes.Clone(sealed)); err != nil {
		return err
	}
	return WriteFile(filepath.Join(store, "restored"), strconv.AppendUint(nil, after, 10))
}

// carryTimes brings over what the older store knows of the clock.
func carryTimes(dir, stage string) error {
	b, err := os.ReadFile(filepath.Join(dir, "store", "clock"))
	if err != nil {
		return nil // it can't be read: then nothing is known
	}
	return WriteFile(filepath.Join(stage, "store", "clock"), b)
}

// finishStage opens the staged store, which builds its index, and ends there
// what has ended since the backup: before the store is in its place.
func finishStage(ctx context.Context, stage string, opts Options, old older) (n int, err error) {
	s, err := Open(stage, opts)
	if err != nil {
		return 0, err
	}
	defer func() {
		// That it was opened here is no start.
		err = errors.Join(err, s.Close(), WriteFile(s.path("restored-at"), nil))
	}()
	by := Actor{Name: "restore"}
	n, err = s.apply(by, old.ends, func(int) error { return ctx.Err() })
	if err != nil {
		return n, err
	}
	return n, s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionRestore, Detail: "of the backup that ends with event " + strconv.FormatUint(old.last, 10)})
		return ctx.Err()
	})
}

// swapStores puts the staged store in its place in one step, and the older one
// aside.
func swapStores(dir, stage string) (kept string, err error) {
	staged, store := filepath.Join(stage, "store"), filepath.Join(dir, "store")
	fresh, err := empty(store)
	if err != nil {
		return "", err
	}
	if fresh {
		if err := removeIfThere(store); err != nil {
			return "", err
		}
		return "", errors.Join(os.Rename(staged, store), syncDir(dir))
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
	return kept, syncDir(dir)
}
