package table_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

var home = record.Origin{Address: netip.MustParseAddr("192.0.2.7"), Agent: "curl/8.5"}

// tightID makes ids that collide: they share few shards, and few places at the
// two ends of the index, so that runs of them cross its border.
func tightID(r *rand.Rand, n int) keys.ID {
	id := keys.ID{1, byte(r.IntN(2))}
	binary.LittleEndian.PutUint32(id[2:], uint32(r.IntN(12)-6))
	binary.BigEndian.PutUint64(id[6:], uint64(n))
	return id
}

// tableModel is a model of the table, made of maps.
type tableModel struct {
	live  map[keys.ID]table.Entry
	gone  map[keys.ID]bool
	whole bool
}

func (m *tableModel) raise(id keys.ID, u record.LastUse) {
	if e, ok := m.live[id]; ok {
		e.Used = later(e.Used, u)
		m.live[id] = e
	}
}

// later returns the later of two last uses. A use at the time of the creation
// counts as one in the next millisecond.
func later(old, u record.LastUse) record.LastUse {
	if old&1 == 0 && u == old+1 {
		return old + 3
	}
	return old.Later(u)
}

func TestTableIsAMap(t *testing.T) {
	for name, c := range map[string]struct{ ids, steps int }{
		"few and crowded": {40, 60_000},
		"many":            {6_000, 60_000}, // several chunks, growing and shrinking
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(c.ids)))
			ids := make([]keys.ID, c.ids)
			for n := range ids {
				ids[n] = tightID(r, n)
				if c.ids > 1000 {
					binary.LittleEndian.PutUint32(ids[n][2:], r.Uint32())
				}
			}
			tab, model := table.New(), tableModel{live: map[keys.ID]table.Entry{}, gone: map[keys.ID]bool{}}
			for step := range c.steps {
				if step == c.steps/4 {
					tab.Whole()
					model.whole = true
				}
				grow := step*5/c.steps%2 == 0 // alternately
				tableStep(r, tab, &model, ids[r.IntN(len(ids))], grow)
				if step%997 == 0 {
					compareTable(t, tab, &model, ids)
				}
			}
			for _, id := range ids {
				tab.Remove(id)
				delete(model.live, id)
			}
			compareTable(t, tab, &model, ids)
		})
	}
}

func tableStep(r *rand.Rand, tab *table.Table, m *tableModel, id keys.ID, grow bool) {
	e := table.Entry{ID: id, Generation: byte(r.IntN(3)), Flags: byte(r.IntN(2)), Owner: r.Uint32N(100), Used: record.LastUse(r.IntN(1000))}
	remove := 2
	if !grow {
		remove = 6
	}
	switch dice := r.IntN(10); {
	case dice < remove:
		tab.Remove(id)
		delete(m.live, id)
		m.gone[id] = !m.whole
	case dice < remove+1:
		u := record.LastUse(r.IntN(2000))
		tab.Raise(id, u)
		m.raise(id, u)
	case dice < remove+2 && !m.whole:
		tab.Load(e)
		if _, ok := m.live[id]; ok {
			m.raise(id, e.Used)
		} else if !m.gone[id] {
			m.live[id] = e
		}
	default:
		tab.Put(e)
		if old, ok := m.live[id]; ok {
			e.Used = later(old.Used, e.Used)
		}
		m.live[id] = e
	}
}

func compareTable(t *testing.T, tab *table.Table, m *tableModel, ids []keys.ID) {
	t.Helper()
	if got := tab.Len(); got != len(m.live) {
		t.Fatalf("%d tokens, want %d", got, len(m.live))
	}
	for _, id := range ids {
		got, ok, whole := tab.Get(id)
		want, live := m.live[id]
		got.Slot = 0 // callers can't rely on it
		if ok != live || got != want || whole != m.whole {
			t.Fatalf("%v: got %+v, %v, %v, want %+v, %v, %v", id, got, ok, whole, want, live, m.whole)
		}
	}
}

// TestRecall: what the log of uses says later is right, whichever time is later, until the
// token is used.
func TestRecall(t *testing.T) {
	tab := table.New()
	id := keys.NewID(1)
	tab.Put(table.Entry{ID: id, Used: record.CreatedAt(5000)})
	for _, c := range []struct{ recall, want record.LastUse }{
		{record.UsedAt(3000), record.UsedAt(3000)}, // the clock was ahead at the creation
		{record.UsedAt(9000), record.UsedAt(9000)},
		{record.UsedAt(4000), record.UsedAt(4000)}, // it was ahead at the use before
		{record.CreatedAt(8000), record.UsedAt(4000)},
	} {
		tab.Recall(id, c.recall)
		if e, _, _ := tab.Get(id); e.Used != c.want {
			t.Errorf("after %v: got %v, want %v", c.recall, e.Used, c.want)
		}
	}
	e, _, _ := tab.Get(id)
	tab.Touch(id, e.Slot, 6000, home)
	tab.Recall(id, record.UsedAt(4500))
	if e, _, _ = tab.Get(id); e.Used != record.UsedAt(6000) {
		t.Errorf("after a use: got %v, want that use", e.Used)
	}
	r := record.UsageRecord{Used: record.UsedAt(7000)}
	if tab.Usage(id, &r); r.Used != record.UsedAt(6000) {
		t.Errorf("the index has a later time: got %v, want the use that it does not have", r.Used)
	}
	tab.Recall(keys.NewID(1), record.UsedAt(1)) // of a token that is not there
}

// While the table is being loaded, the writer's changes override the older
// state in Badger.
func TestTableLoading(t *testing.T) {
	tab := table.New()
	id := keys.NewID(1)
	old := table.Entry{ID: id, Generation: 1, Used: 10}
	if _, ok, whole := tab.Get(id); ok || whole {
		t.Errorf("before: got %v, %v, want neither", ok, whole)
	}
	tab.Put(table.Entry{ID: id, Generation: 2, Used: 20})
	tab.Load(old)
	if e, _, _ := tab.Get(id); e.Generation != 2 || e.Used != 20 {
		t.Errorf("put, then loaded: got %+v", e)
	}
	tab.Remove(id)
	tab.Load(old)
	if _, ok, _ := tab.Get(id); ok {
		t.Error("a token that was taken out came back from Badger")
	}
	tab.Whole()
	if _, ok, whole := tab.Get(id); ok || !whole {
		t.Errorf("whole: got %v, %v", ok, whole)
	}
	tab.Put(old)
	tab.Remove(id)
	tab.Load(old) // from a walk through Badger that began before the removal
	if _, ok, _ := tab.Get(id); ok {
		t.Error("a token that was taken out of a whole shard came back from Badger")
	}
}

// Many goroutines verify while one writes. A token that is always there is
// always found, even if others move around it, and its last use never goes
// back.
func TestTableReaders(t *testing.T) {
	tab := table.New()
	r := rand.New(rand.NewPCG(3, 4))
	var fixed, moving [50]keys.ID
	for n := range fixed {
		fixed[n], moving[n] = tightID(r, n), tightID(r, 1000+n)
		tab.Put(table.Entry{ID: fixed[n], Owner: uint32(n)})
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			var last [len(fixed)]record.LastUse
			for n := 0; !stop.Load(); n++ {
				at := n % len(fixed)
				e, ok, _ := tab.Get(fixed[at])
				if !ok || e.ID != fixed[at] || e.Owner != uint32(at) || e.Used < last[at] {
					t.Errorf("got %+v, %v, want token %d with a last use of %d or more", e, ok, at, last[at])
					return
				}
				last[at] = e.Used
				tab.Touch(fixed[at], e.Slot, int64(n+w), home)
				tab.Get(moving[at])
				tab.Usage(fixed[at], new(record.UsageRecord))
			}
		})
	}
	for n := range 20_000 {
		id := moving[r.IntN(len(moving))]
		if n%2 == 0 {
			tab.Put(table.Entry{ID: id, Owner: 7})
		} else {
			tab.Remove(id)
		}
	}
	stop.Store(true)
	wg.Wait()
}
