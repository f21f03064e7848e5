package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// Followers and replays read while batches are appended over many segments, and
// old segments are pruned: each sees every record once and in order, and sees
// only durable records.
func TestFollowWhileAppending(t *testing.T) {
	j := must.Get(journal.Open(t.TempDir(), testKey, journal.Options{Create: true, SegmentSize: 32 << 10}))(t)
	defer j.Close()
	const last = 3000
	var wg sync.WaitGroup
	failures := make(chan error, 100)
	for after := range uint64(3) {
		wg.Go(func() {
			want := after*10 + 1
			for r, err := range j.Follow(context.Background(), after*10) {
				if err == nil && (r.Sequence != want || r.Sequence > j.LastSequence()) {
					err = fmt.Errorf("follow: sequence %d, want %d", r.Sequence, want)
				}
				if err == nil {
					err = right(r)
				}
				if err != nil {
					failures <- err
					return
				}
				if want++; r.Sequence == last {
					return
				}
			}
		})
	}
	done := make(chan struct{})
	wg.Go(func() {
		for {
			if err := j.Verify(context.Background()); err != nil {
				failures <- fmt.Errorf("verify: %w", err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := 0; j.LastSequence() < last; i++ {
		n := min(1+i%40, last-int(j.LastSequence()))
		appendBatch(t, j, n, 80)
	}
	close(done)
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	check(t, j, 1, last)
}

func TestPruneWhileReading(t *testing.T) {
	j := must.Get(journal.Open(t.TempDir(), testKey, journal.Options{Create: true, SegmentSize: small}))(t)
	defer j.Close()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			err := j.Replay(context.Background(), j.FirstSequence()-1, func(r journal.Record) error { return right(r) })
			if err != nil && !errors.Is(err, journal.ErrPruned) {
				t.Error(err)
				return
			}
		}
	})
	for i := range 200 {
		last := appendBatch(t, j, 1+i%9, 200)
		must.Get(j.Prune(time.UnixMilli(1<<50), 0, last-min(last, 20)))(t)
	}
	close(done)
	wg.Wait()
	check(t, j, j.FirstSequence(), j.LastSequence())
}

func TestFollowEnds(t *testing.T) {
	j := must.Get(journal.Open(t.TempDir(), testKey, journal.Options{Create: true, SegmentSize: small}))(t)
	last := appendBatch(t, j, 3, 100)
	for r, err := range j.Follow(context.Background(), 0) { // the reader stops early
		if err != nil || r.Sequence != 1 {
			t.Error(r, err)
		}
		break
	}
	end := func(ctx context.Context, stop func()) (ended error) {
		seen := uint64(0)
		for r, err := range j.Follow(ctx, 0) {
			if err != nil {
				ended = err
				continue // a second yield would panic
			}
			if seen = r.Sequence; seen == last {
				go stop()
			}
		}
		return ended
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := end(ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	if err := end(context.Background(), func() { j.Close() }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// TestReopenAfterReaders: a reader that ends while its journal is being closed
// leaves no descriptor open, and therefore no lock. The race detector sees the
// rest.
func TestReopenAfterReaders(t *testing.T) {
	dir := t.TempDir()
	options := journal.Options{Create: true, SegmentSize: small}
	for range 30 {
		j := must.Get(journal.Open(dir, testKey, options))(t)
		appendBatch(t, j, 3, 100)
		var wg sync.WaitGroup
		for range 4 {
			reading := make(chan struct{})
			wg.Go(func() {
				for _, err := range j.Follow(context.Background(), 0) {
					if err != nil {
						t.Error(err)
					}
					close(reading)
					break
				}
			})
			<-reading
		}
		must.Do(t, j.Close())
		wg.Wait()
	}
}
