package uses

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

var home = record.Origin{Address: netip.MustParseAddr("192.0.2.7"), Agent: "curl/8"}

// A block is written as the store's format says. TestEncodings of package
// storage explains what is compared here.
func TestEncodings(t *testing.T) {
	usage := record.Usage{Uses: 9, PerDay: []record.DayCount{{Day: 20000, N: 4}, {Day: 20001, N: 5}}, Seen: []record.Seen{{Origin: home, Time: 1 << 40}}}
	b := block{slice: 3, run: 8}
	b.Usage(keys.ID{1, 2, 13: 3}, record.UsedAt(1<<40), &usage)
	want := must.Get(os.ReadFile("../testdata/format3/encodings"))(t)
	got := fmt.Sprintf("use-block %x", sha256.Sum256(slices.Concat(blockKey(5), b.payload())))
	if !slices.Contains(strings.Split(string(want), "\n"), got) {
		t.Errorf("this was not written so: %s", got)
	}
}

// A flipped bit anywhere in a segment is detected.
func TestDamagedSegment(t *testing.T) {
	dir, seals := t.TempDir(), keys.Ring{}.Seals()
	l := must.Get(Open(dir, seals, slog.New(slog.DiscardHandler)))(t)
	b := block{slice: 1, run: 2}
	b.Use(keys.ID{1, 2}, record.UsedAt(1000), 3, b.Origin(home))
	first := l.last + 1
	for range 2 {
		must.Do(t, l.append(b.payload()))
	}
	must.Do(t, l.Close())
	file := filepath.Join(dir, fmt.Sprintf("%016x", first))
	whole := must.Get(os.ReadFile(file))(t)
	read := func(b []byte) bool {
		t.Helper()
		must.Do(t, os.WriteFile(file, b, 0o600))
		whole := must.Get(l.readSegment(first, func(uint64, []byte) error { return nil }))(t)
		return whole
	}
	if !read(whole) {
		t.Error("a segment that is whole does not verify")
	}
	for offset := range whole {
		b := slices.Clone(whole)
		b[offset] ^= 1
		if read(b) {
			t.Errorf("byte %d was changed, and the segment verifies", offset)
		}
		if offset > 0 && offset != len(whole)/2 && read(whole[:offset]) { // a cut between two blocks leaves a whole segment
			t.Errorf("cut off after byte %d, the segment verifies", offset)
		}
	}
}

// However many addresses tokens are used from, the log has the right one for
// each token.
func TestManyOrigins(t *testing.T) {
	dir, seals, log := t.TempDir(), keys.Ring{}.Seals(), slog.New(slog.DiscardHandler)
	l := must.Get(Open(dir, seals, log))(t)
	tab := table.New()
	f := New(Options{Table: tab, Log: l, Noted: func(func() []table.Sight) {}, Hurry: func() bool { return true }})
	const each = 5000 // in each shard of a slice; together more than a block has numbers for
	want, said := map[keys.ID]record.Origin{}, map[keys.ID]record.Origin{}
	for shard := range table.Shards / Slices {
		for n := range each {
			id := keys.ID{0, byte(shard), 4: byte(n >> 8), 5: byte(n)}
			want[id] = record.Origin{Address: netip.AddrFrom4([4]byte{10, byte(shard), byte(n >> 8), byte(n)})}
			tab.Put(table.Entry{ID: id})
			tab.Touch(id, 0, 1<<40, want[id])
		}
	}
	must.Do(t, errors.Join(f.Save(0), l.Close()))
	again, err := Open(dir, seals, log)
	if err == nil {
		err = again.readOld(0, func(_, _ uint64, u use, from record.Origin) { said[u.id] = from })
	}
	must.Do(t, errors.Join(err, again.Close()))
	wrong := 0
	for id, from := range want {
		if said[id] != from {
			wrong++
		}
	}
	if wrong > 0 || len(said) != len(want) {
		t.Errorf("got %d tokens, %d of them without an origin or with another, want %d", len(said), wrong, len(want))
	}
}

// Recovery gives the same result for a token if it keeps everything that the log
// says or only what it needs, and it needs little for a token that is used all the
// time.
func TestRecovered(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 2000 {
		var all, needed recovered
		for block := range uint64(20) {
			u := pastUse{block: block, run: uint64(r.IntN(2))}
			u.used, u.uses = record.UsedAt(int64(r.IntN(3))*record.MsOfDay+int64(r.IntN(5))), int64(r.IntN(4))
			if n := r.IntN(8); n > 0 {
				u.from = record.Origin{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Agent: fmt.Sprint(r.IntN(2))}
			}
			all = append(all, u)
			needed.add(u)
		}
		for mark := range uint64(20) {
			got, want := record.UsageRecord{Mark: mark}, record.UsageRecord{Mark: mark}
			needed.bring(&got, math.MaxInt64, 0)
			all.bring(&want, math.MaxInt64, 0)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("of %v after block %d: got %+v, want %+v", all, mark, got, want)
			}
		}
	}
	var busy recovered
	for n := range int64(1000) {
		busy.add(pastUse{block: uint64(n), use: use{used: record.UsedAt(1000 * n), uses: n}, from: home})
	}
	if len(busy) != 1 {
		t.Errorf("of a token in use all the time: kept %d, want 1", len(busy))
	}
}

func FuzzBlock(f *testing.F) {
	b := block{slice: 1, run: 2}
	b.Use(keys.ID{1, 2}, record.UsedAt(1000), 3, b.Origin(home))
	f.Add(b.payload())
	f.Fuzz(func(t *testing.T, b []byte) {
		eachUse(b, -1, func(_ uint64, u use, _ record.Origin) {
			if u.used < 0 {
				return
			}
		})
	})
}
