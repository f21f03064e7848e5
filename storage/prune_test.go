package storage_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestAuditLogHasABound renames a token very often. The audit log keeps its
// maximum size, records what was dropped, and a rebuild still restores
// everything.
func TestAuditLogHasABound(t *testing.T) {
	storagetest.Slow(t)
	dir := t.TempDir()
	o := storage.Options{MostEvents: 1 << 20, Segment: 64 << 10, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	s := openWith(t, dir, o)
	u := addUser(t, s, "ada@example.com")
	id, secret := create(t, s, u)
	for n := range 12_000 {
		must.Do(t, s.RenameToken(admin, id, fmt.Sprint("name ", n)))
		if n%2000 == 0 {
			settle(t, s)
		}
	}
	settle(t, s)
	if got, most := s.Journal().Size(), o.MostEvents+3*o.Segment; got > most {
		t.Errorf("the audit log takes %d bytes, want at most %d", got, most)
	}
	first, told := uint64(0), ""
	for e := range must.All(s.Audit().Events(context.Background(), 0))(t) {
		if first == 0 {
			first = e.Sequence
		}
		if e.Action == storage.ActionAuditPrune {
			told = e.Detail
		}
	}
	if want := fmt.Sprintf("events up to %d are no longer kept", s.Journal().FirstSequence()-1); first < 2 || told != want {
		t.Errorf("the first event is %d, and the log says %q, want %q", first, told, want)
	}
	must.Do(t, s.Audit().VerifyChain(context.Background()))
	s.Index().NoteDamage(storage.ErrDamaged) // the next start fills the index again
	s.Close()
	s = openWith(t, dir, o)
	wantLive(t, s, secret)
	if v, err := s.Token(id); err != nil || v.Name != "name 11999" {
		t.Errorf("got %q, %v", v.Name, err)
	}
}

// settle makes a checkpoint and prunes, as the upkeep does, and waits until the
// event of the pruning is durable.
func settle(t testing.TB, s *storage.Store) {
	t.Helper()
	s.CheckpointWhenDue(t.Context())
	must.Do(t, s.Record(admin, storage.Event{Action: storage.ActionImport}))
}
