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

	"gatehouse/storage/journal"
)

// Restored says what a restore did.
type Restored struct {
	Manifest
	Revoked int    // tokens and users whose end came after the backup, and holds
	Kept    string // where the older store is now; empty: there was none
	NoKey   string // where the key file must be put; empty: it is there
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
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	lock, err := lockDir(dir, opts.Holder)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	m, sealed, err := inspect(backup)
	if err != nil {
		return r, err
	}
	r.Manifest = m
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return r, err
	}
	old, err := lookAtOld(dir, opts.KeyFile, sealed, m.Sequence)
	if err != nil {
		return r, err
	}
	stage := filepath.Join(dir, "restore.tmp")
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := stageBackup(stage, backup, sealed, max(m.Sequence, old.last)); err != nil {
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

// ended is what a journal says after a sequence of things that must not come
// back to life.
type ended struct {
	last   uint64
	tokens []ID
	users  map[UserID]string // the last of ActionUserDisable, ActionUserEnable and ActionUserRemove
}

// lookAtOld reads the store that is in the directory, if there is one, and
// makes sure that the key fits the backup.
func lookAtOld(dir, keyFile string, sealed []byte, after uint64) (e ended, err error) {
	store := filepath.Join(dir, "store")
	fresh, err := empty(store)
	if err != nil {
		return e, err
	}
	kek, err := readKeyFile(keyFile)
	if errors.Is(err, os.ErrNotExist) && fresh {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	keys, err := openKeyring("the backup's keyring", sealed, kek, keyFile)
	if err != nil || fresh {
		return e, err
	}
	b, err := os.ReadFile(filepath.Join(store, "keyring"))
	if err != nil {
		return e, err
	}
	own, err := openKeyring(filepath.Join(store, "keyring"), b, kek, keyFile)
	if err != nil {
		return e, err
	}
	if own.Root != keys.Root {
		return e, fmt.Errorf("%w: the backup is of another installation than the store in %s", ErrWrongKey, dir)
	}
	return readEnded(filepath.Join(store, "journal"), own.derive("journal"), after)
}

// readEnded reads also a journal that is damaged, as far as it can be read.
func readEnded(dir string, key [32]byte, after uint64) (ended, error) {
	e := ended{users: map[UserID]string{}}
	one := func(jr journal.Record) error {
		e.last = max(e.last, jr.Sequence)
		if jr.Sequence <= after {
			return nil
		}
		r, err := parseRecord(jr)
		if err != nil {
			return err
		}
		switch r.event.Action {
		case ActionTokenRevoke:
			if id, err := ParseID(r.event.Token); err == nil {
				e.tokens = append(e.tokens, id)
			}
		case ActionUserDisable, ActionUserEnable, ActionUserRemove:
			if e.users[r.event.Owner] != ActionUserRemove {
				e.users[r.event.Owner] = r.event.Action
			}
		}
		return nil
	}
	_, err := journal.Salvage(dir, key, nil, one)
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

// finishStage opens the staged store, which builds its index, and ends there
// what has ended since the backup: before the store is in its place.
func finishStage(ctx context.Context, stage string, opts Options, old ended) (n int, err error) {
	s, err := Open(stage, opts)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	by := Actor{Name: "restore"}
	for _, id := range old.tokens {
		done, err := s.RevokeTokens(by, id)
		if err != nil && !errors.Is(err, ErrNoToken) {
			return n, err
		}
		n += done
	}
	for id, action := range old.users {
		u, err := s.UserByID(id)
		if errors.Is(err, ErrNoUser) {
			continue // made after the backup
		}
		if err != nil {
			return n, err
		}
		switch {
		case action == ActionUserRemove && u.State != UserRemoved:
			err = s.RemoveUser(by, u.UID)
		case action == ActionUserDisable && u.State == UserActive:
			err = s.DisableUser(by, u.UID)
		default:
			continue
		}
		if err != nil {
			return n, err
		}
		n++
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
	if err := unix.Renameat2(unix.AT_FDCWD, staged, unix.AT_FDCWD, store, unix.RENAME_EXCHANGE); err != nil {
		return "", fmt.Errorf("put the restored store in place: %w", err)
	}
	kept = filepath.Join(dir, "before-restore-"+time.Now().UTC().Format("20060102T150405Z"))
	return kept, errors.Join(os.Rename(staged, kept), syncDir(dir))
}
