package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A checkpoint that is whole by its checksums, and yet not as one is written,
// is refused; while the journal has everything, the index is built without it.
func TestCheckpointOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	u := addUser(t, s, "alice@example.com")
	_, live := create(t, s, u)
	dead, secret := create(t, s, u)
	if _, err := s.RevokeTokens(admin, dead); err != nil {
		t.Fatal(err)
	}
	if _, err := s.writeCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	good, err := os.ReadFile(filepath.Join(dir, "store", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]op) []op{
		"as it was":     func(ops []op) []op { return ops },
		"upside down":   func(ops []op) []op { slices.Reverse(ops); return ops },
		"twice":         func(ops []op) []op { return append(ops, ops...) },
		"a deletion":    func(ops []op) []op { ops[1].value = nil; return ops },
		"without a key": func(ops []op) []op { ops[1].key = nil; return ops },
	} {
		t.Run(name, func(t *testing.T) {
			at := copyDir(t, dir)
			if err := os.RemoveAll(filepath.Join(at, "store", "index")); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(at, "store", "checkpoint"), rewrite(t, good, s.snapshotKey, spoil), 0o600)
			s := open(t, at)
			wantLive(t, s, live)
			wantDead(t, s, secret)
			create(t, s, u)
		})
	}
}

// rewrite gives a snapshot other operations, and an end that fits.
func rewrite(t *testing.T, snapshot []byte, key [32]byte, spoil func([]op) []op) []byte {
	t.Helper()
	in, err := openSnapshot(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(slices.Clone(in.begun))
	w := &snapshotWriter{w: out, sum: in.sum}
	var ops []op
	err = in.records(func(data []byte) error {
		list, err := allOps(data)
		ops = append(ops, list...)
		return err
	})
	for _, o := range spoil(ops) {
		if err == nil {
			err = w.op(o)
		}
	}
	if err == nil {
		err = w.end(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
