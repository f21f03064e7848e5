package restore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/restore"
	"gatehouse/storage/storagetest/must"
)

// installation is a data directory with keys and a log, with everything that a restore
// reads.
type installation struct {
	dir  string
	ring keys.Ring
}

func install(t *testing.T) installation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	store := filepath.Join(dir, "store")
	must.Do(t, os.MkdirAll(store, 0o700))
	ring := must.Get(keys.Load(filepath.Join(store, "keyring"), filepath.Join(dir, "key"), keys.Make))(t)
	return installation{dir, ring}
}

// log opens the log and passes it to fn.
func (i installation) log(t *testing.T, fn func(j *journal.Journal)) {
	t.Helper()
	j := must.Get(journal.Open(filepath.Join(i.dir, "store", "journal"), i.ring.Derive("journal"), journal.Options{Create: true, SegmentSize: 8 << 10}))(t)
	defer j.Close()
	fn(j)
}

// change writes an operation to the log.
func (i installation) change(t *testing.T, key, value []byte) {
	t.Helper()
	i.log(t, func(j *journal.Journal) {
		e := record.Entry{Ops: []record.Op{{Key: key, Value: i.ring.Seals().Seal(key, value)}}}
		b := must.Get(e.AppendPayload(nil))(t)
		must.Get(j.Append(journal.Essential, []journal.Entry{{Payload: b}}))(t)
	})
}

// backup returns a backup of the log, without records.
func (i installation) backup(t *testing.T) []byte {
	t.Helper()
	keyring := must.Get(os.ReadFile(filepath.Join(i.dir, "store", "keyring")))(t)
	out := new(bytes.Buffer)
	i.log(t, func(j *journal.Journal) {
		log := must.Get(j.Copy())(t)
		defer log.Close()
		w := must.Get(backup.NewWriter(out, backup.Manifest{Journal: log.End()}, keyring))(t)
		must.Do(t, errors.Join(w.End(i.ring.Derive("snapshots")), w.Journal(t.Context(), log, 0, nil), w.Flush()))
	})
	return out.Bytes()
}

// restored restores a backup, and returns the arguments of Finish.
func restored(b []byte, dir string, refused error) (r restore.Result, ends record.Ends, last uint64, err error) {
	r, err = restore.Run(context.Background(), bytes.NewReader(b), dir, restore.Options{
		KeyFile: filepath.Join(dir, "key"), Holder: "a test", Progress: func(string, int, int) {},
		Finish: func(_ context.Context, stage string, _ backup.Manifest, e record.Ends, n uint64) (int, error) {
			ends, last = e, n
			return len(e.Tokens) + len(e.Users), refused
		},
	})
	return r, ends, last, err
}

func tree(t *testing.T, dir string) (files []string) {
	t.Helper()
	must.Do(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(path) != "lock" {
			b, _ := os.ReadFile(path)
			files = append(files, path+" "+string(b))
		}
		return err
	}))
	return files
}

var user = record.User{ID: 7, State: record.UserDisabled, UID: "alice@example.com", Source: record.SourceLocal, StateAt: 5}

// A restore finds what has ended in the older store, in every place that still records
// it, and keeps the store aside.
func TestRunOverAStore(t *testing.T) {
	token := keys.NewID(1)
	i := install(t)
	i.change(t, []byte("first"), nil)
	b := i.backup(t)
	v := must.Get(user.Value())(t)
	i.change(t, record.UserKey(user.ID), v)
	i.change(t, record.TokenEndKey(token), record.TokenEnd{Revoked: 9}.Value())
	for name, harm := range map[string]func(dir string) error{
		"whole":           func(string) error { return nil },
		"without keyring": func(dir string) error { return os.Remove(filepath.Join(dir, "store", "keyring")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must.Do(t, os.CopyFS(dir, os.DirFS(i.dir)))
			for _, private := range []string{dir, filepath.Join(dir, "store")} {
				must.Do(t, os.Chmod(private, 0o700))
			}
			must.Do(t, errors.Join(os.Chmod(filepath.Join(dir, "key"), 0o600), harm(dir)))
			before := tree(t, dir)
			refused := errors.New("refused")
			if _, _, _, err := restored(b, dir, refused); !errors.Is(err, refused) {
				t.Fatalf("got %v, want %v", err, refused)
			}
			if after := tree(t, dir); !slices.Equal(before, after) {
				t.Errorf("a refused restore has changed the directory from %q to %q", before, after)
			}
			r, ends, last, err := restored(b, dir, nil)
			if err != nil || r.Revoked != 2 || last != 3 || ends.Users[user.ID].State != record.UserDisabled || ends.Tokens[token].Revoked != 9 {
				t.Fatalf("got %+v, %v, ends %+v up to record %d", r, err, ends, last)
			}
			if said := len(r.Unread) > 0; said != (name != "whole") {
				t.Errorf("unread: %q", r.Unread)
			}
			for _, file := range []string{"checkpoint", "keyring", "restored", "journal/0000000001.seg"} {
				if !disk.Exists(filepath.Join(dir, "store", file)) {
					t.Errorf("there is no %s", file)
				}
			}
			if !disk.Exists(filepath.Join(r.Kept, "journal")) || disk.Exists(restore.Stage(dir)) {
				t.Errorf("the older store is not in %q, or the stage is left", r.Kept)
			}
		})
	}
}

// A backup can be restored into an empty directory without its key. The first start
// checks the key that is put there. A restore with a wrong key is refused.
func TestRunElsewhere(t *testing.T) {
	i := install(t)
	i.change(t, []byte("first"), nil)
	b := i.backup(t)
	dir := filepath.Join(t.TempDir(), "new", "data")
	r, _, _, err := restored(b, dir, errors.New("nothing to finish without the key"))
	if err != nil || r.NoKey != filepath.Join(dir, "key") || r.Kept != "" || !disk.Exists(filepath.Join(dir, "store", "restored")) {
		t.Errorf("got %+v, %v", r, err)
	}
	other := install(t)
	before := tree(t, other.dir)
	if _, _, _, err := restored(b, other.dir, nil); !errors.Is(err, keys.ErrWrong) {
		t.Errorf("over another installation: got %v, want %v", err, keys.ErrWrong)
	}
	if after := tree(t, other.dir); !slices.Equal(before, after) {
		t.Errorf("the directory had %q and has %q", before, after)
	}
	none := filepath.Join(t.TempDir(), "data")
	if _, _, _, err := restored(b[:len(b)-1], none, nil); !errors.As(err, new(*backup.Error)) || disk.Exists(none) {
		t.Errorf("one that is cut off: got %v, and the directory is there: %t", err, disk.Exists(none))
	}
}
