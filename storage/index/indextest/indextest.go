// Package indextest makes an index for tests of packages that read or fill one.
package indextest

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

// Index is an index of the store's records, in a directory of its own.
type Index struct {
	*index.Index
	t     testing.TB
	seals *keys.Seals
	end   journal.Position // of the journal that the changes would be in
}

// New makes an empty index at the first record of a journal. The test closes it at its end.
func New(t testing.TB, seals *keys.Seals) *Index {
	t.Helper()
	dir, first := t.TempDir(), journal.Position{Sequence: 1}
	x := index.New(index.Options{
		Dir: dir, Seals: seals, Space: disk.NewSpace(dir, disk.Watermark), Log: slog.New(slog.DiscardHandler),
		Kinds: index.Kinds{Counted: record.Counted, Reported: [2]byte{'n', 't'}, Sealed: record.SealedKinds}, Closing: t.Context().Done(),
	})
	must.Do(t, errors.Join(x.OpenEmpty(), x.Create(first)))
	t.Cleanup(func() {
		x.Shut()
		if err := x.Close(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
	})
	return &Index{x, t, seals, first}
}

// View calls fn with a view of the index as it is now.
func (x *Index) View(fn func(*index.View) error) error {
	v, end, err := x.Begin()
	if err != nil {
		return err
	}
	defer end()
	return fn(v)
}

// Put brings in a change with these operations, as the writer does. It seals the values of
// sealed kinds.
func (x *Index) Put(ops ...record.Op) {
	x.t.Helper()
	for n, o := range ops {
		if o.Value != nil && record.Sealed(o.Key[0]) {
			ops[n].Value = x.seals.Seal(o.Key, o.Value)
		}
	}
	b := x.Batch()
	defer b.Discard()
	if err := b.Enter(ops); err != nil {
		x.t.Fatal(err)
	}
	b.Counts()
	x.end.Sequence++
	b.Commit(x.end, nil, func() {})
}

// Spoil replaces a stored value behind the back of the index.
func (x *Index) Spoil(key, stored []byte) {
	x.t.Helper()
	if err := x.Update(1<<10, func(u *index.Update) error { return u.Hint(key, stored, 0) }); err != nil {
		x.t.Fatal(err)
	}
}
