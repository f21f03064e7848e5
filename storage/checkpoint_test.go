package storage

import (
	"testing"
	"time"

	"gatehouse/storage/record"
)

// While a checkpoint is being made, uses go to their log as ever: a kill takes
// those of a second, not of the whole checkpoint.
func TestUsesDuringCheckpoint(t *testing.T) {
	clock := newClock()
	s := openWith(t, t.TempDir(), timed(t, clock))
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	<-s.compared
	<-s.old.done
	s.merges.RLock() // a checkpoint waits for it
	clock.Move(2 * checkpointEvery)
	time.Sleep(2 * time.Second) // or longer: it has begun
	clock.Move(time.Minute)
	wantLive(t, s, secret)
	want := record.UsedAt(clock.Milli())
	for logged(t, s) != want {
		time.Sleep(time.Millisecond)
	}
	if !s.checkpoint.busy.Load() {
		t.Error("the checkpoint did not wait")
	}
	s.merges.RUnlock()
	for s.lastCheckpoint().Sequence != s.LastSequence() {
		time.Sleep(time.Millisecond)
	}
	wantUsed(t, s, id, clock.Milli())
}

// logged is the latest use that the log of uses has.
func logged(t *testing.T, s *Store) (last record.LastUse) {
	t.Helper()
	s.flushing.Lock()
	defer s.flushing.Unlock()
	segments, err := s.uses.segments()
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range segments {
		_, err := s.uses.readSegment(first, func(_ uint64, payload []byte) error {
			return eachUse(payload, -1, func(_ uint64, u oneUse, _ Origin) { last = max(last, u.used) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return last
}
