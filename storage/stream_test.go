package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/storage/backup"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

// A checkpoint with valid checksums but with operations in a wrong order is
// refused. If the journal has everything, the index is built without the
// checkpoint.
func TestCheckpointOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	u := addUser(t, s, "alice@example.com")
	_, live := create(t, s, u)
	dead, secret := create(t, s, u)
	must.Get(s.RevokeTokens(admin, dead))(t)
	must.Do(t, s.Checkpoint(t.Context()))
	s.Close()
	good := must.Get(os.ReadFile(filepath.Join(dir, "store", "checkpoint")))(t)
	for name, spoil := range map[string]func([]record.Op) []record.Op{
		"as it was":     func(ops []record.Op) []record.Op { return ops },
		"upside down":   func(ops []record.Op) []record.Op { slices.Reverse(ops); return ops },
		"twice":         func(ops []record.Op) []record.Op { return append(ops, ops...) },
		"a deletion":    func(ops []record.Op) []record.Op { ops[1].Value = nil; return ops },
		"without a key": func(ops []record.Op) []record.Op { ops[1].Key = nil; return ops },
	} {
		t.Run(name, func(t *testing.T) {
			at := copyDir(t, dir)
			must.Do(t, os.RemoveAll(filepath.Join(at, "store", "index")))
			put(t, filepath.Join(at, "store", "checkpoint"), rewrite(t, good, s.CheckpointFile().Key, spoil), 0o600)
			s := open(t, at)
			wantLive(t, s, live)
			wantDead(t, s, secret)
			create(t, s, u)
		})
	}
}

// rewrite gives a snapshot other operations, and a matching end.
func rewrite(t *testing.T, snapshot []byte, key [32]byte, spoil func([]record.Op) []record.Op) []byte {
	t.Helper()
	in := must.Get(backup.Open(bytes.NewReader(snapshot)))(t)
	out := new(bytes.Buffer)
	w := must.Get(backup.NewWriter(out, in.Manifest, in.Keyring))(t)
	var ops []record.Op
	err := in.Records(func(data []byte) error {
		list, err := record.AllOps(data)
		ops = append(ops, list...)
		return err
	})
	for _, o := range spoil(ops) {
		if err == nil {
			err = w.Op(o)
		}
	}
	if err == nil {
		err = errors.Join(w.End(key), w.Flush())
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
