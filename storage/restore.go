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

// ended is what a store says of things that must not come back to life. It
// is taken from the records, in the checkpoint and then in the journal, not from
// the journal alone: that begins anew with each restore, and loses its oldest part.
type ended struct {
	last    uint64
	unread  []string
	found   bool // a record that verifies
	seals   *sealer
	tokens  map[ID]struct{}
	secrets map[ID]Token // those that were rotated, with the generation and the overlap of the good secret
	users   map[UserID]UserState
}

// take notes what an operation ends.
func (e *ended) take(o op) error {
	if len(o.key) == 0 || o.value == nil || o.key[0] != 't' && o.key[0] != 'u' {
		return nil
	}
	b, err := e.seals.open(o.key, o.value)
	if err != nil {
		return nil // of a damaged store, as much as can be read
	}
	e.found = true
	switch {
	case o.key[0] == 'u' && len(o.key) == 9:
		if v, _, err := parseOwner(decodeUserID(o.key[1:]), b); err == nil && e.users[v.id] != UserRemoved {
			e.users[v.id] = v.state
		}
	case o.key[0] == 't' && len(o.key) == 1+idLen:
		t, err := parseToken(ID(o.key[1:]), b)
		switch {
		case err != nil:
		case t.Revoked != 0:
			e.tokens[t.ID] = struct{}{}
		case t.Generation > 0:
			e.secrets[t.ID] = Token{ID: t.ID, Generation: t.Generation, Overlap: t.Overlap}
		}
	}
	return nil
}

// lookAtOld reads the store that is in the directory, if there is one, and
// makes sure that the key fits the backup.
func lookAtOld(dir, keyFile string, sealed []byte) (e ended, err error) {
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
	e, err = readEnded(store, keys)
	e.unread = append(unread, e.unread...)
	if err == nil && len(unread) > 0 && !e.found {
		err = fmt.Errorf("%w: nothing in %s can be read with the backup's keys, so it may be of another installation: move it away, and restore again",
			ErrDamaged, store)
	}
	return e, err
}

// readEnded reads also a store that is damaged, as far as it can be read.
func readEnded(store string, keys keyring) (ended, error) {
	e := ended{
		seals: newSealer(keys.derive("records")), tokens: map[ID]struct{}{},
		secrets: map[ID]Token{}, users: map[UserID]UserState{},
	}
	checkpoint, dir := filepath.Join(store, "checkpoint"), filepath.Join(store, "journal")
	f, err := os.Open(checkpoint)
	if err == nil {
		err = readSnapshot(f, func(kind byte, data []byte) error {
			if kind == chunkOps {
				eachOp(data, e.take)
			}
			return nil
		})
		f.Close()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.unread = append(e.unread, checkpoint)
	}
	lost, err := journal.Salvage(dir, keys.derive("journal"), nil, func(jr journal.Record) error {
		e.last, e.found = max(e.last, jr.Sequence), true
		if _, ops, err := cutRecord(jr); err == nil {
			eachOp(ops, e.take)
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

// finishStage opens the staged store, which builds its index, and ends there
// what has ended since the backup: before the store is in its place.
func finishStage(ctx context.Context, stage string, opts Options, old ended) (n int, err error) {
	s, err := Open(stage, opts)
	if err != nil {
		return 0, err
	}
	defer func() {
		// That it was opened here is no start.
		err = errors.Join(err, s.Close(), WriteFile(s.path("restored-at"), nil))
	}()
	by := Actor{Name: "restore"}
	for id := range old.tokens {
		done, err := s.RevokeTokens(by, id)
		if err != nil && !errors.Is(err, ErrNoToken) {
			return n, err
		}
		n += done
	}
	for _, last := range old.secrets {
		if err := s.retire(by, last); err != nil {
			return n, err
		}
	}
	for id, state := range old.users {
		done, err := s.endUser(by, id, state)
		if err != nil {
			return n, err
		}
		if done {
			n++
		}
	}
	return n, s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionRestore, Detail: "of the backup that ends with event " + strconv.FormatUint(old.last, 10)})
		return ctx.Err()
	})
}

// retire brings a token to the secret that it had at last: one that was rotated
// away, perhaps because it had leaked, must not be good again.
func (s *Store) retire(by Actor, last Token) error {
	return s.takeAway(by, func(t *tx) error {
		v, err := t.token(t.txn, last.ID)
		if errors.Is(err, ErrNoToken) {
			return nil // made after the backup
		}
		if err != nil || v.Revoked != 0 || v.Generation > last.Generation ||
			v.Generation == last.Generation && v.Overlap <= last.Overlap {
			return err
		}
		v.Generation, v.Overlap = last.Generation, last.Overlap
		return t.update(v, ActionTokenRetire)
	})
}

// endUser brings a user to the state that it had at last, if that is an end.
func (s *Store) endUser(by Actor, id UserID, state UserState) (done bool, err error) {
	u, err := s.UserByID(id)
	if errors.Is(err, ErrNoUser) {
		return false, nil // made after the backup
	}
	switch {
	case err != nil || u.State == state:
		return false, err
	case state == UserRemoved:
		err = s.RemoveUser(by, u.UID)
	case state == UserDisabled && u.State != UserRemoved:
		err = s.DisableUser(by, u.UID)
	case state == UserSuspended && u.State == UserActive:
		err = s.Suspend(by, id, "before the restore")
	default:
		return false, nil
	}
	return err == nil, err
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
