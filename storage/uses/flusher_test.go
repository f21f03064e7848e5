package uses_test

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// house is a table, a log in a directory, and the encoded usages of an index.
type house struct {
	t     *testing.T
	dir   string
	table *table.Table
	log   *uses.Log
	index map[keys.ID][]byte
	*uses.Flusher
}

func open(t *testing.T, dir string, index map[keys.ID][]byte) *house {
	t.Helper()
	log := must.Get(uses.Open(dir, keys.Ring{}.Seals(), slog.New(slog.DiscardHandler)))(t)
	h := &house{t: t, dir: dir, table: table.New(), log: log, index: index}
	h.table.Whole()
	h.Flusher = uses.New(uses.Options{
		Table: h.table, Log: log, Update: h.update,
		Noted:     func(func() []table.Sight) {},
		Plausible: func() (limit, instead int64) { return math.MaxInt64, 0 },
		Hurry:     func() bool { return true },
		Full:      func(error) bool { return false },
	})
	t.Cleanup(func() { log.Close() })
	return h
}

func (h *house) update(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error {
	for _, id := range ids {
		r := h.stored(id)
		change(id, &r)
		h.index[id] = r.Value()
	}
	return nil
}

func (h *house) stored(id keys.ID) (r record.UsageRecord) {
	h.t.Helper()
	b, ok := h.index[id]
	if !ok {
		return r
	}
	r, err := record.ParseUsage(b)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// usage is what a listing shows.
func (h *house) usage(id keys.ID) record.UsageRecord {
	h.RLock()
	defer h.RUnlock()
	r := h.stored(id)
	h.table.Usage(id, &r)
	r.Mark = 0
	return r
}

// killed goes on as after a kill, with only the log and the index.
func (h *house) killed() *house {
	h.t.Helper()
	h.do(h.SaveAll())
	dir := filepath.Join(h.t.TempDir(), "uses")
	h.do(os.CopyFS(dir, os.DirFS(h.dir)))
	h.do(h.log.Close())
	return open(h.t, dir, maps.Clone(h.index))
}

func (h *house) do(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// Each use is shown exactly once: while uses are written, merged and recovered,
// while the log is shortened, and after kills.
func TestFlusher(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { story(t, rand.New(rand.NewPCG(11, seed))) })
	}
}

func story(t *testing.T, r *rand.Rand) {
	h := open(t, filepath.Join(t.TempDir(), "uses"), map[keys.ID][]byte{})
	want := map[keys.ID]*record.UsageRecord{}
	var ids []keys.ID
	for n := range 40 {
		id := keys.ID{1, byte(n * 7), 5: byte(n)}
		ids, want[id] = append(ids, id), new(record.UsageRecord)
	}
	dead := map[keys.ID]bool{}
	load := func() { // as a start does
		for _, id := range ids {
			if !dead[id] {
				h.table.Put(table.Entry{ID: id, Used: want[id].Used})
			}
		}
	}
	load()
	h.do(h.Recover(nil))
	ms := int64(1 << 40)
	slice := 0
	never := func() error { return nil }
	for step := range 4000 {
		ms += 1 + r.Int64N(2000)
		switch dice := r.IntN(1000); {
		case dice < 10:
			ms += r.Int64N(5 * record.MsOfDay)
		case dice < 20:
			h = h.killed()
			load()
			if r.IntN(2) == 0 { // otherwise the next kill comes first
				h.do(h.Recover(nil))
			}
		case dice < 30:
			if h.Recovered() {
				h.do(h.Merge(time.Now().Add(time.Hour), never))
			}
		case dice < 35:
			h.Shorten()
		case dice < 37 && len(dead) < len(ids)/2: // its last uses are not written yet
			id := ids[r.IntN(len(ids))]
			h.table.Remove(id)
			dead[id] = true
		case dice < 400:
			h.do(h.Tick(slice, time.Duration(r.IntN(2))*time.Millisecond))
			slice = (slice + 1) % uses.Slices
		default:
			id := ids[r.IntN(len(ids))]
			if dead[id] {
				continue
			}
			from := record.Origin{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(7))}), Agent: fmt.Sprint("agent ", r.IntN(2))}
			e, _, _ := h.table.Get(id)
			h.table.Touch(id, e.Slot, ms, from)
			want[id].Used = record.UsedAt(ms)
			want[id].Count(record.DayOf(ms), 1)
			want[id].Saw(record.Seen{Origin: from, Time: ms})
		}
		if step%50 == 0 && h.Recovered() {
			h.compare(want, ms, fmt.Sprint("step ", step))
		}
	}
	h = h.killed()
	load()
	h.do(h.Recover(nil))
	h.compare(want, ms, "at the end")
}

func (h *house) compare(want map[keys.ID]*record.UsageRecord, now int64, when string) {
	h.t.Helper()
	for id, w := range want {
		got := h.usage(id)
		if got.Used != w.Used || got.Uses != w.Uses || !slices.Equal(got.Seen, w.Seen) || !slices.Equal(got.Days(now), w.Days(now)) {
			h.t.Fatalf("%s: token %v: got %+v, want %+v", when, id, got, *w)
		}
	}
}

// Readers do not wait, and uses do not move while they read.
func TestReaders(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "uses"), map[keys.ID][]byte{})
	h.do(h.Recover(nil))
	id := keys.ID{1, 2}
	h.table.Put(table.Entry{ID: id})
	h.table.Touch(id, 0, 1<<40, record.Origin{})
	h.do(h.SaveAll())
	h.RLock()
	if err := h.Merge(time.Now(), func() error { return nil }); err != uses.ErrBusy || len(h.index) > 0 {
		t.Errorf("while somebody reads: got %v, %d usages in the index, want %v and none", err, len(h.index), uses.ErrBusy)
	}
	h.RUnlock()
	h.do(h.Merge(time.Now().Add(time.Hour), func() error { return nil }))
	if got := slices.Collect(maps.Keys(h.index)); !slices.Equal(got, []keys.ID{id}) {
		t.Errorf("got %v in the index, want the token", got)
	}
}
