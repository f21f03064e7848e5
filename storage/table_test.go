package storage

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// tightID makes ids that meet: few shards, and few places at the two ends of
// the index, so that rows of them run over its border.
func tightID(r *rand.Rand, n int) ID {
	id := ID{1, byte(r.IntN(2))}
	binary.LittleEndian.PutUint32(id[2:], uint32(r.IntN(12)-6))
	binary.BigEndian.PutUint64(id[6:], uint64(n))
	return id
}

// tableModel is a table as a map would be one.
type tableModel struct {
	live  map[ID]entry
	gone  map[ID]bool
	whole bool
}

func (m *tableModel) raise(id ID, u record.LastUse) {
	if e, ok := m.live[id]; ok {
		e.used = later(e.used, u)
		m.live[id] = e
	}
}

// later is the later of two last uses, where a use at the creation's time is
// one of the millisecond after it.
func later(old, u record.LastUse) record.LastUse {
	if old&1 == 0 && u == old+1 {
		return old + 3
	}
	return max(old, u)
}

func TestTableIsAMap(t *testing.T) {
	for name, c := range map[string]struct{ ids, steps int }{
		"few and crowded": {40, 60_000},
		"many":            {6_000, 60_000}, // several chunks, growing and shrinking
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(c.ids)))
			ids := make([]ID, c.ids)
			for n := range ids {
				ids[n] = tightID(r, n)
				if c.ids > 1000 {
					binary.LittleEndian.PutUint32(ids[n][2:], r.Uint32())
				}
			}
			table, model := newTable(new(memory)), tableModel{live: map[ID]entry{}, gone: map[ID]bool{}}
			for step := range c.steps {
				if step == c.steps/4 {
					for i := range table.shards {
						table.shards[i].whole()
					}
					model.whole = true
				}
				grow := step*5/c.steps%2 == 0 // by turns
				tableStep(r, table, &model, ids[r.IntN(len(ids))], grow)
				if step%997 == 0 {
					compareTable(t, table, &model, ids)
				}
			}
			for _, id := range ids {
				table.remove(id)
				delete(model.live, id)
			}
			compareTable(t, table, &model, ids)
		})
	}
}

func tableStep(r *rand.Rand, table *table, m *tableModel, id ID, grow bool) {
	e := entry{id: id, generation: byte(r.IntN(3)), flags: byte(r.IntN(2)), owner: r.Uint32N(100), used: record.LastUse(r.IntN(1000))}
	remove := 2
	if !grow {
		remove = 6
	}
	switch dice := r.IntN(10); {
	case dice < remove:
		table.remove(id)
		delete(m.live, id)
		m.gone[id] = !m.whole
	case dice < remove+1:
		u := record.LastUse(r.IntN(2000))
		table.raise(id, u)
		m.raise(id, u)
	case dice < remove+2 && !m.whole:
		table.load(e)
		if _, ok := m.live[id]; ok {
			m.raise(id, e.used)
		} else if !m.gone[id] {
			m.live[id] = e
		}
	default:
		table.put(e)
		if old, ok := m.live[id]; ok {
			e.used = later(old.used, e.used)
		}
		m.live[id] = e
	}
}

func compareTable(t *testing.T, table *table, m *tableModel, ids []ID) {
	t.Helper()
	if got := table.len(); got != len(m.live) {
		t.Fatalf("%d tokens, want %d", got, len(m.live))
	}
	for _, id := range ids {
		got, ok, whole := table.get(id)
		want, live := m.live[id]
		got.slot = 0 // which is nobody's business
		if ok != live || got != want || whole != m.whole {
			t.Fatalf("%v: got %+v, %v, %v, want %+v, %v, %v", id, got, ok, whole, want, live, m.whole)
		}
	}
}

// While the table is being loaded, what the writer did counts more than what
// Badger had before.
func TestTableLoading(t *testing.T) {
	table := newTable(new(memory))
	id := keys.NewID(1)
	old := entry{id: id, generation: 1, used: 10}
	if _, ok, whole := table.get(id); ok || whole {
		t.Errorf("before: got %v, %v, want neither", ok, whole)
	}
	table.put(entry{id: id, generation: 2, used: 20})
	table.load(old)
	if e, _, _ := table.get(id); e.generation != 2 || e.used != 20 {
		t.Errorf("put, then loaded: got %+v", e)
	}
	table.remove(id)
	table.load(old)
	if _, ok, _ := table.get(id); ok {
		t.Error("a token that was taken out came back from Badger")
	}
	table.shard(id).whole()
	if _, ok, whole := table.get(id); ok || !whole {
		t.Errorf("whole: got %v, %v", ok, whole)
	}
	table.put(old)
	table.remove(id)
	table.load(old) // by a walk through Badger that began before the removal
	if _, ok, _ := table.get(id); ok {
		t.Error("a token that was taken out of a whole shard came back from Badger")
	}
}

// Many verify while one writes. A token that is always there is always found,
// whatever moves around it, and its last use never goes back.
func TestTableReaders(t *testing.T) {
	table := newTable(new(memory))
	r := rand.New(rand.NewPCG(3, 4))
	var fixed, moving [50]ID
	for n := range fixed {
		fixed[n], moving[n] = tightID(r, n), tightID(r, 1000+n)
		table.put(entry{id: fixed[n], owner: uint32(n)})
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			var last [len(fixed)]record.LastUse
			for n := 0; !stop.Load(); n++ {
				at := n % len(fixed)
				e, ok, _ := table.get(fixed[at])
				if !ok || e.id != fixed[at] || e.owner != uint32(at) || e.used < last[at] {
					t.Errorf("got %+v, %v, want token %d with a last use of %d or more", e, ok, at, last[at])
					return
				}
				last[at] = e.used
				table.touch(fixed[at], e.slot, int64(n+w), home)
				table.get(moving[at])
				table.usage(fixed[at], new(record.UsageRecord))
			}
		})
	}
	for n := range 20_000 {
		id := moving[r.IntN(len(moving))]
		if n%2 == 0 {
			table.put(entry{id: id, owner: 7})
		} else {
			table.remove(id)
		}
	}
	stop.Store(true)
	wg.Wait()
}
