// Package restore puts a backup in the place of a store.
//
//	backup ──> restore.tmp/store       as a store that was never opened: checkpoint, journal,
//	                                   keyring, and the mark "restored", for the first start
//	store ──> the ends in it           as many as can still be read
//	Finish                             opens the staged store and ends that there, too
//	store <──> restore.tmp/store       in one step; the older one is kept aside
//
// It owns that layout, and the data directory while it works. It never opens a store:
// the caller does. Until the last step it never changes the store that is there, so a
// restore that is refused, killed or interrupted leaves the directory as it was.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
	"gatehouse/storage/rekey"
)

// Result says what a restore did.
type Result struct {
	backup.Manifest
	Revoked int      // tokens and users that ended after the backup, and stay ended
	Unread  []string // parts of the older store that could not be read: an end that only they had is lost
	Kept    string   // where the older store is now; empty: there was none
	NoKey   string   // where the key file must be put; empty: it is there
	OldKey  string   // the old key file that opened the backup, made before a rotation; empty: the key file did
}

// Options say how to restore. All but Key are required.
type Options struct {
	KeyFile  string
	Key      keys.File                       // its key, if the process can't read the file
	Holder   string                          // names this process to a second one that finds the directory locked
	Progress func(step string, done, of int) // of: how much; 0: not known

	// Finish opens the staged directory, which builds the store's index, and ends the
	// tokens and users in it that have ended in the older store. last is the last record
	// of the older store, or 0 if there was no older store. Finish returns how many
	// tokens and users it has ended.
	Finish func(ctx context.Context, stage string, m backup.Manifest, ends record.Ends, last uint64) (revoked int, err error)
}

// run is one restore.
type run struct {
	Options
	ctx        context.Context
	in         *backup.Reader
	dir, stage string
	key        *[32]byte // authenticates backups; nil: the key file is not there
	keyring    []byte    // of the restored store, sealed
	oldKey     string    // as in Result
	old        older
}

// Run puts a backup into a data directory that no process holds. In an empty
// directory it restores the backup as it is. If there is an older store, Run adds
// the ends that the older store knows, so that everything ended stays ended, and
// moves the older store aside.
//
// Run refuses a backup that is damaged, cut short, combined from several, or
// from another installation. It also gives up when ctx ends.
func Run(ctx context.Context, from io.Reader, dir string, opts Options) (result Result, err error) {
	r := &run{Options: opts, ctx: ctx, dir: dir, stage: Stage(dir)}
	if r.in, err = backup.Open(from); err != nil { // before creating anything
		return result, err
	}
	result.Manifest = r.in.Manifest
	made := !disk.Exists(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return result, err
	}
	defer func() {
		if err != nil && made {
			os.Remove(filepath.Join(dir, "lock"))
			os.Remove(dir)
		}
	}()
	if err := disk.CheckPrivate(dir); err != nil {
		return result, err
	}
	lock, err := disk.Lock(dir, opts.Holder)
	if err != nil {
		return result, err
	}
	defer lock.Close()
	if err := os.RemoveAll(r.stage); err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.stage)) }()
	err = r.run(&result)
	return result, err
}

func (r *run) run(result *Result) (err error) {
	if err := r.lookAtOlder(); err != nil {
		return err
	}
	result.Unread, result.OldKey = r.old.unread, r.oldKey
	if err := r.layOut(); err != nil {
		return err
	}
	if err := r.keepClock(); err != nil {
		return err
	}
	if r.Key != (keys.File{}) || disk.Exists(r.KeyFile) {
		if result.Revoked, err = r.Finish(r.ctx, r.stage, r.in.Manifest, r.old.Ends, r.old.last); err != nil {
			return err
		}
	} else {
		result.NoKey = r.KeyFile
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	result.Kept, err = r.swap()
	return err
}

// Stage returns where a restore builds the new store in a data directory. The next start
// or restore removes what a killed restore has left there.
func Stage(dir string) string { return filepath.Join(dir, "restore.tmp") }

// lookAtOlder reads the store in the directory, if there is one, and checks
// that the key fits the backup.
func (r *run) lookAtOlder() error {
	r.keyring = r.in.Keyring
	store := filepath.Join(r.dir, "store")
	fresh, err := disk.Empty(store)
	if err != nil {
		return err
	}
	file, err := r.Key, error(nil)
	if file == (keys.File{}) {
		file, err = keys.ReadFile(r.KeyFile)
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && fresh:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %s does not exist, and without it nobody can tell what was revoked in the store that is in %s: put it back, or move that store away",
			keys.ErrMissing, r.KeyFile, store)
	case err != nil:
		return err
	}
	ring, opened, err := rekey.Open(file, "the backup's keyring", r.in.Keyring)
	if err != nil {
		return err
	}
	if !opened.Same(file) {
		r.oldKey = opened.Name()
	}
	key := ring.Derive("snapshots")
	r.key = &key
	r.old = older{Ends: record.NewEnds(), seals: ring.Seals()}
	if !fresh {
		if ring, err = r.checkKeyring(file, ring); err != nil {
			return err
		}
	}
	if r.keyring, err = file.Seal(ring); err != nil || fresh {
		return err
	}
	noKeyring := len(r.old.unread) > 0
	err = r.old.readJournal(r.ctx, store, ring.Derive("journal"), r.Progress)
	if err == nil {
		err = r.old.readIndex(r.ctx, store, r.stage)
	}
	if err == nil && noKeyring && !r.old.found {
		err = fmt.Errorf("%w: nothing in %s can be read with the backup's keys, so it may be of another installation: move it away, and restore again",
			disk.ErrDamaged, store)
	}
	return err
}

// checkKeyring checks that the older store has the keys of the backup. A damaged or
// missing keyring is not an error: it may be the reason for the restore. The backup's
// keyring has the same root if the store belongs to the same installation; then the
// records of the older store verify with it. checkKeyring returns the keyring of the
// restored store, which keeps the ends of token keys that the older keyring knows.
func (r *run) checkKeyring(file keys.File, ring keys.Ring) (keys.Ring, error) {
	name := filepath.Join(r.dir, "store", "keyring")
	b, err := os.ReadFile(name)
	if err == nil {
		var own keys.Ring
		own, _, err = rekey.Open(file, name, b)
		if err == nil && own.Root != ring.Root {
			return ring, fmt.Errorf("%w: the backup is of another installation than the store in %s", keys.ErrWrong, r.dir)
		}
		if err == nil {
			ring = ring.Restored(own)
		}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, disk.ErrDamaged) {
		r.old.unread = append(r.old.unread, name)
		return ring, nil
	}
	return ring, err
}

// layOut lays out a store with the backup as its checkpoint and its journal, and
// without an index.
func (r *run) layOut() error {
	store := filepath.Join(r.stage, "store")
	if err := os.MkdirAll(store, 0o700); err != nil {
		return err
	}
	in := r.in
	step := func() error {
		r.Progress("Reading the backup, MB", int(in.Offset()/1e6), 0)
		return r.ctx.Err()
	}
	if err := stageCheckpoint(filepath.Join(store, "checkpoint"), in, step); err != nil {
		return err
	}
	if r.key != nil { // otherwise the first start checks
		if err := in.Authentic(*r.key); err != nil {
			return err
		}
	}
	restored := marks.Restored{End: in.Manifest.Journal}
	if !in.Manifest.HasJournal() {
		restored.After = max(in.Manifest.Sequence, r.old.last)
	} else if err := stageJournal(filepath.Join(store, "journal"), in, step); err != nil {
		return err
	}
	if err := in.AtEnd(); err != nil {
		return err
	}
	if err := disk.WriteFile(filepath.Join(store, "keyring"), r.keyring); err != nil {
		return err
	}
	return marks.In(store).SetRestored(restored)
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
	err = in.Journal(func(p journal.Piece) error { return errors.Join(l.Put(p), step()) }, l.Reset)
	return errors.Join(err, l.Close())
}

// keepClock copies what the older store knows about the clock.
func (r *run) keepClock() error {
	b, err := os.ReadFile(filepath.Join(r.dir, "store", "clock"))
	if err != nil {
		return nil // unreadable: then nothing is known
	}
	return disk.WriteFile(filepath.Join(r.stage, "store", "clock"), b)
}

// swap moves the staged store to its place and the older one aside, in one
// step.
func (r *run) swap() (kept string, err error) {
	staged, store, dir := filepath.Join(r.stage, "store"), filepath.Join(r.dir, "store"), r.dir
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
	// First the staged store moves to the place for the older one, and then the
	// two change places. So the older store is never in a directory that the
	// next restore removes.
	kept = filepath.Join(dir, "before-restore-"+time.Now().UTC().Format("20060102T150405.000000000Z"))
	if err := os.Rename(staged, kept); err != nil {
		return "", err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, kept, unix.AT_FDCWD, store, unix.RENAME_EXCHANGE); err != nil {
		return "", errors.Join(fmt.Errorf("put the restored store in place: %w", err), os.RemoveAll(kept))
	}
	return kept, disk.SyncDir(dir)
}
