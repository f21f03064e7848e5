package table_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

// retired is the number of a key with dead tokens.
const retired = 9

func live(key byte) bool { return key != retired }

func loader(t *table.Table) table.Loader {
	return table.Loader{Table: t, Seals: keys.Ring{}.Seals(), Live: live, Stop: never}
}

// fill puts users and tokens into a table, and returns the tokens.
func fill(t *table.Table, r *rand.Rand) map[keys.ID]table.Entry {
	all := map[keys.ID]table.Entry{}
	for n := range 50 {
		t.Owners.Set(record.Owner{ID: record.UserID(n + 1), UID: fmt.Sprintf("user%d@example.com", n)})
	}
	for range 3000 {
		id := keys.ID{byte(1 + r.IntN(2))}
		binary.BigEndian.PutUint64(id[1:], r.Uint64())
		e := table.Entry{ID: id, Generation: byte(r.IntN(3)), Flags: byte(r.IntN(4)), Owner: r.Uint32N(50), Used: record.UsedAt(r.Int64N(1 << 40))}
		t.Put(e)
		all[id] = e
	}
	return all
}

func same(t *testing.T, got *table.Table, want map[keys.ID]table.Entry) {
	t.Helper()
	if got.Len() != len(want) {
		t.Fatalf("got %d tokens, want %d", got.Len(), len(want))
	}
	for id, w := range want {
		e, ok, whole := got.Get(id)
		e.Slot = 0
		if !ok || !whole || e != w {
			t.Fatalf("token %v: got %+v, %t, %t, want %+v", id, e, ok, whole, w)
		}
	}
}

// users are the users of a table, by number.
func users(tab *table.Table) (list []record.Owner) {
	for n := range tab.Owners.Len() {
		list = append(list, tab.Owners.At(uint32(n)))
	}
	return list
}

// A table is loaded from its file. Changes after the file's position stay, no
// matter if they came before or after a shard was loaded.
func TestFile(t *testing.T) {
	r, seals := rand.New(rand.NewPCG(5, 6)), keys.Ring{}.Seals()
	old := table.New()
	want := fill(old, r)
	moment := sealed.Moment{Position: journal.Position{Sequence: 7, Hash: [32]byte{8}}, Uses: 9}
	name := filepath.Join(t.TempDir(), "table")
	must.Do(t, old.WriteFile(name, seals, moment))
	f := must.Get(table.Open(name, seals))(t)
	defer f.Close()
	if f.Moment != moment {
		t.Errorf("got the moment %+v, want %+v", f.Moment, moment)
	}
	tab := table.New()
	must.Do(t, f.Users(tab, live, true))
	if got, want := fmt.Sprint(users(tab)), fmt.Sprint(users(old)); got != want {
		t.Errorf("got the users %s, want %s", got, want)
	}
	apply(t, tab, want, r, 100)
	for id, w := range want { // a token in a shard that is not loaded yet
		if tab.Owners.At(w.Owner).State == record.UserRemoved {
			continue
		}
		if e, ok, _ := tab.Lookup(id); !ok || e.Owner != w.Owner {
			t.Fatalf("token %v: got %+v, %t, want %+v", id, e, ok, w)
		}
		break
	}
	must.Do(t, f.LoadAll(never))
	apply(t, tab, want, r, 100)
	for id, e := range want {
		if tab.Owners.At(e.Owner).State == record.UserRemoved {
			delete(want, id)
		}
	}
	same(t, tab, want)
}

// memoryLog is a log with one record.
type memoryLog []record.Op

func (l memoryLog) Ops(after uint64, fn func(uint64, []record.Op) error) error {
	return fn(after+1, l)
}

// apply applies changes from the log to the table and to its model.
func apply(t *testing.T, tab *table.Table, want map[keys.ID]table.Entry, r *rand.Rand, n int) {
	t.Helper()
	l := loader(tab)
	put := func(key, value []byte, err error) {
		t.Helper()
		if err == nil {
			err = l.CatchUp(memoryLog{{Key: key, Value: l.Seals.Seal(key, value)}}, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ids := slices.SortedFunc(maps.Keys(want), func(a, b keys.ID) int { return bytes.Compare(a[:], b[:]) })
	r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for n, id := range ids[:n] {
		e := want[id]
		v := record.Token{ID: id, Owner: tab.Owners.At(e.Owner).ID, Generation: e.Generation}
		switch n % 5 {
		case 0:
			v.Revoked = 5
			b, err := v.Value()
			put(record.TokenKey(id), b, err)
			delete(want, id)
		case 1: // only its end remains
			must.Do(t, l.CatchUp(memoryLog{{Key: record.TokenKey(id)}}, 0))
			delete(want, id)
		case 2:
			v.Generation++
			b, err := v.Value()
			put(record.TokenKey(id), b, err)
			e.Generation, e.Flags = v.Generation, v.Flags()
			want[id] = e
		case 3:
			fresh := v
			if fresh.ID[13]++; want[fresh.ID] != (table.Entry{}) {
				continue
			}
			fresh.Created = int64(n)
			b, err := fresh.Value()
			put(record.TokenKey(fresh.ID), b, err)
			want[fresh.ID] = table.Entry{ID: fresh.ID, Generation: v.Generation, Owner: e.Owner, Used: record.CreatedAt(int64(n))}
			other := fresh
			other.ID[0] = retired
			b, err = other.Value()
			put(record.TokenKey(other.ID), b, err)
		case 4:
			u := record.User{ID: v.Owner, UID: "gone@example.com", State: record.UserRemoved}
			if n%50 == 4 {
				b, err := u.Value()
				put(record.UserKey(u.ID), b, err)
			}
		}
	}
}

// A flipped bit is detected anywhere: in the head when the file is opened, in a part
// when the part is loaded.
func TestDamagedFile(t *testing.T) {
	r, seals := rand.New(rand.NewPCG(5, 7)), keys.Ring{}.Seals()
	old := table.New()
	fill(old, r)
	name := filepath.Join(t.TempDir(), "table")
	must.Do(t, old.WriteFile(name, seals, sealed.Moment{}))
	whole := must.Get(os.ReadFile(name))(t)
	for n := range 200 {
		at := r.IntN(len(whole))
		if n%2 == 0 {
			at = r.IntN(table.HeadSize)
		}
		b := append([]byte{}, whole...)
		b[at] ^= 1 << r.IntN(8)
		must.Do(t, os.WriteFile(name, b, 0o600))
		f, err := table.Open(name, seals)
		if (err != nil) != (at < table.HeadSize) {
			t.Fatalf("byte %d: got %v, and the head has %d", at, err, table.HeadSize)
		}
		if err != nil {
			continue
		}
		tab := table.New()
		if err := errors.Join(f.Users(tab, live, false), f.LoadAll(never), f.Close()); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("byte %d: got %v, want %v", at, err, disk.ErrDamaged)
		}
	}
}

// records are those of an index.
type records map[string][]byte

func (m records) Each(prefix []byte, fn func(key, value []byte) error) error {
	for k, v := range m {
		if len(k) >= len(prefix) && k[:len(prefix)] == string(prefix) {
			if err := fn([]byte(k), v); err != nil {
				return err
			}
		}
	}
	return nil
}

// The table loads the tokens that are not dead from the records, with their last
// uses.
func TestLoadRecords(t *testing.T) {
	m := records{}
	put := func(key, value []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		m[string(key)] = value
	}
	for n, state := range []record.UserState{record.UserActive, record.UserDisabled, record.UserRemoved} {
		u := record.User{ID: record.UserID(n + 1), UID: fmt.Sprint(n), State: state}
		b, err := u.Value()
		put(record.UserKey(u.ID), b, err)
	}
	token := func(n byte, v record.Token, used int64) keys.ID {
		if v.ID[0] == 0 {
			v.ID[0] = 1
		}
		v.ID[1], v.ID[5], v.Created = n, n, 1000
		b, err := v.Value()
		put(record.TokenKey(v.ID), b, err)
		if used > 0 {
			r := record.UsageRecord{Used: record.UsedAt(used)}
			put(record.UsageKey(v.ID), r.Value(), nil)
		}
		return v.ID
	}
	want := map[keys.ID]record.LastUse{
		token(1, record.Token{Owner: 1}, 0):    record.CreatedAt(1000),
		token(2, record.Token{Owner: 2}, 5000): record.UsedAt(5000),
		token(3, record.Token{Owner: 1}, 1000): record.UsedAt(1001), // as listings show it
	}
	token(4, record.Token{Owner: 3}, 0)                          // its user is removed
	token(5, record.Token{Owner: 1, Revoked: 5}, 0)              // revoked
	token(6, record.Token{Owner: 4}, 0)                          // without a user
	token(7, record.Token{ID: keys.ID{retired}, Owner: 1}, 5000) // its key is retired
	tab := table.New()
	must.Do(t, loader(tab).LoadRecords(m))
	got := map[keys.ID]record.LastUse{}
	tab.Each(func(e table.Entry) { got[e.ID] = e.Used })
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	stop := errors.New("stop")
	l := loader(table.New())
	l.Stop = func() error { return stop }
	if err := l.LoadRecords(m); !errors.Is(err, stop) {
		t.Errorf("told to stop: got %v", err)
	}
}
