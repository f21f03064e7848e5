package notices_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// counted counts the reads and writes of an index.
type counted struct {
	notices.Index
	views  int
	refuse error // of updates
}

func (c *counted) View(fn func(*index.View) error) error {
	c.views++
	return c.Index.View(fn)
}

func (c *counted) Update(fn func(*index.Update) error) error {
	if c.refuse != nil {
		return c.refuse
	}
	return c.Index.Update(fn)
}

// TestSightings: each sighting comes until it is deleted, also if there are more than are kept
// in memory, after a start, and if a deletion fails. If nothing is new, nothing is read.
func TestSightings(t *testing.T) {
	store := must.Get(storage.Open(t.TempDir(), storage.Options{Segment: storagetest.Segment}))(t)
	defer store.Close()
	x := &counted{Index: store.Notices().Index}
	s := notices.NewSightings(x)
	wait := map[string]int{} // how often each came
	put := func(from, n int) {
		t.Helper()
		var list []record.Sighting
		for i := from; i < from+n; i++ {
			one := record.Sighting{Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), Time: 1}
			binary.BigEndian.PutUint32(one.Token[4:], uint32(i)*2654435761)
			list = append(list, one)
			wait[string(one.Key())] = 0
		}
		must.Do(t, x.Index.Update(func(u *index.Update) (err error) {
			for _, one := range list {
				b, failed := one.Value()
				err = errors.Join(err, failed, u.Put(one.Key(), b, 0))
			}
			return err
		}))
		for _, one := range list {
			s.Sighted(one.Key())
		}
	}
	take := func(refuse error) (n int) {
		t.Helper()
		list := must.Get(s.Waiting(200))(t)
		for _, one := range list {
			wait[string(one.Key())]++
		}
		x.refuse = refuse
		if err := s.Seen(list); !errors.Is(err, refuse) {
			t.Fatalf("got %v, want %v", err, refuse)
		}
		return len(list)
	}
	all := func(want int) {
		t.Helper()
		got := 0
		for n := take(nil); n > 0; n = take(nil) {
			got += n
		}
		if got != want {
			t.Errorf("%d came, want %d", got, want)
		}
	}
	idle := func() {
		t.Helper()
		x.views = 0
		for range 1000 {
			take(nil)
		}
		if x.views != 0 {
			t.Errorf("the index was read %d times, and nothing is new", x.views)
		}
	}
	all(0)
	idle()
	put(0, 3)
	all(3)
	idle()

	for i := range 10 {
		put(10+1000*i, 1000)
	}
	full := errors.New("disk full")
	if n := take(full); n != 200 {
		t.Errorf("%d came, want 200", n)
	}
	for range 20 {
		take(nil)
	}
	s = notices.NewSightings(x) // as after a start
	put(20_000, 2)
	all(10_002 - 20*200)
	idle()
	repeated := 0
	for k, n := range wait {
		if n == 0 {
			t.Errorf("%x was missed", k)
		}
		repeated += max(0, n-1)
	}
	if repeated != 200 { // those whose deletion failed
		t.Errorf("%d came twice, want 200", repeated)
	}
}
