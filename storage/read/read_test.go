package read_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/index/indextest"
	"gatehouse/storage/keys"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// fixture is an index and a table without a store.
type fixture struct {
	*indextest.Index
	t     *testing.T
	table *table.Table
	from  *read.Sources
}

func start(t *testing.T) *fixture {
	t.Helper()
	seals := keys.Ring{Root: [32]byte{1}}.Seals()
	f := &fixture{t: t, Index: indextest.New(t, seals), table: table.New()}
	f.from = &read.Sources{
		Table: f.table, Clock: clock.New(clock.Options{}), KeyEnds: func(byte) int64 { return 0 },
		Find: func(id keys.ID) (table.Entry, bool, error) {
			e, ok, _ := f.table.Get(id)
			return e, ok, nil
		},
	}
	return f
}

func (f *fixture) read(fn func(*read.Reader) error) error {
	return f.View(func(v *index.View) error { return fn(f.from.At(v)) })
}

func (f *fixture) addUser(u record.User) {
	f.t.Helper()
	b, err := u.Value()
	if err != nil {
		f.t.Fatal(err)
	}
	list := []record.Op{{Key: record.UserKey(u.ID), Value: b}, {Key: record.NameKey(record.Fold(u.UID)), Value: u.ID.Bytes()}}
	for _, id := range u.Identities {
		list = append(list, record.Op{Key: id.Key(), Value: u.ID.Bytes()})
	}
	f.Put(list...)
	f.table.Owners.Set(record.Owner{ID: u.ID, UID: u.UID, State: u.State})
}

func (f *fixture) addToken(v record.Token) {
	f.t.Helper()
	b, err := v.Value()
	if err != nil {
		f.t.Fatal(err)
	}
	f.Put(record.Op{Key: record.TokenKey(v.ID), Value: b}, record.Op{Key: v.OwnedKey(), Value: []byte{}})
	if _, n, ok := f.table.Owners.Find(v.Owner); ok && v.Revoked == 0 {
		f.table.Put(table.Entry{ID: v.ID, Owner: n, Used: record.CreatedAt(v.Created)})
	}
}

var alice = record.User{
	ID: 7, UID: "Alice@example.com", Source: "ldap", State: record.UserActive,
	Identities: []record.Identity{{Source: "ldap", Subject: "1"}, {Source: "corp", Subject: "2"}},
}

func TestUsers(t *testing.T) {
	f := start(t)
	f.addUser(alice)
	gone := record.User{ID: 8, UID: "bob@example.com", Source: "local", State: record.UserRemoved}
	f.addUser(gone)
	f.Put(record.Op{Key: record.NameKey("eve@example.com"), Value: alice.ID.Bytes()}) // a hint that is behind
	f.Put(record.Op{Key: record.Identity{Source: "ldap", Subject: "3"}.Key(), Value: alice.ID.Bytes()})
	f.table.Owners.Set(record.Owner{ID: 9, UID: "lost@example.com"})
	for what, c := range map[string]struct {
		get  func(*read.Reader) (record.User, error)
		id   record.UserID
		want error
	}{
		"by id":            {func(rd *read.Reader) (record.User, error) { return rd.User(alice.ID) }, alice.ID, nil},
		"removed, by id":   {func(rd *read.Reader) (record.User, error) { return rd.User(gone.ID) }, gone.ID, nil},
		"unknown id":       {func(rd *read.Reader) (record.User, error) { return rd.User(1) }, 0, read.ErrNoUser},
		"without a record": {func(rd *read.Reader) (record.User, error) { return rd.User(9) }, 0, disk.ErrDamaged},
		"by name":          {func(rd *read.Reader) (record.User, error) { return rd.UserByName("aLICE@example.com") }, alice.ID, nil},
		"removed, by name": {func(rd *read.Reader) (record.User, error) { return rd.UserByName(gone.UID) }, 0, read.ErrNoUser},
		"a former name":    {func(rd *read.Reader) (record.User, error) { return rd.UserByName("eve@example.com") }, 0, read.ErrNoUser},
		"an empty name":    {func(rd *read.Reader) (record.User, error) { return rd.UserByName("") }, 0, read.ErrNoUser},
		"by identity":      {func(rd *read.Reader) (record.User, error) { return rd.UserByIdentity(alice.Identities[1]) }, alice.ID, nil},
		"a former identity": {func(rd *read.Reader) (record.User, error) {
			return rd.UserByIdentity(record.Identity{Source: "ldap", Subject: "3"})
		}, 0, read.ErrNoUser},
		"no identity": {func(rd *read.Reader) (record.User, error) { return rd.UserByIdentity(record.Identity{}) }, 0, read.ErrNoUser},
	} {
		err := f.read(func(rd *read.Reader) error {
			u, err := c.get(rd)
			if err == nil && u.ID != c.id {
				t.Errorf("%s: got user %d, want %d", what, u.ID, c.id)
			}
			return err
		})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
}

// A token has the uses in the index, and those that are only in the table.
func TestToken(t *testing.T) {
	f := start(t)
	f.addUser(alice)
	v := record.Token{ID: keys.NewID(1), Owner: alice.ID, Name: "nightly", Created: 1000, LastUsed: 1000}
	f.addToken(v)
	home := record.Origin{Address: netip.MustParseAddr("192.0.2.1")}
	want := func(step string, used, uses int64) {
		t.Helper()
		err := f.read(func(rd *read.Reader) error {
			got, err := rd.Token(v.ID)
			if got.Name != v.Name || got.LastUsed != used || got.Usage.Uses != uses || got.OwnerState != record.UserActive {
				t.Errorf("%s: got %+v, want it used %d times, last at %d", step, got, uses, used)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	want("new", 1000, 0)
	r := record.UsageRecord{Used: record.UsedAt(5000)}
	r.Count(record.DayOf(5000), 3)
	f.Put(record.Op{Key: record.UsageKey(v.ID), Value: r.Value()})
	want("used before the start", 5000, 3)
	e, _, _ := f.table.Get(v.ID)
	f.table.Touch(v.ID, e.Slot, 9000, home)
	want("used now", 9000, 4)

	lost := keys.NewID(1)
	f.table.Put(table.Entry{ID: lost, Owner: e.Owner})
	f.Spoil(record.UsageKey(v.ID), []byte("three times"))
	for id, want := range map[keys.ID]error{keys.NewID(1): read.ErrNoToken, lost: disk.ErrDamaged, v.ID: disk.ErrDamaged} {
		err := f.read(func(rd *read.Reader) error { _, err := rd.Token(id); return err })
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", id, err, want)
		}
	}
	l := read.Lists{View: f.read}
	if err := l.SeenIn(v.ID[1], func(keys.ID, []record.Seen) {}); !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("where all tokens were seen, one with a damaged usage: got %v", err)
	}
}

// The keys of a user's tokens are in the order of creation, the revoked ones last. A walk
// can go on after any key.
func TestOwnedKeys(t *testing.T) {
	f := start(t)
	f.addUser(alice)
	bob := record.User{ID: 8, UID: "bob@example.com", Source: "local"}
	f.addUser(bob)
	var names []string
	byID := map[keys.ID]string{}
	for n, v := range []record.Token{
		{Name: "first", Created: 10}, {Name: "second", Created: 20, Order: 1}, {Name: "third", Created: 20, Order: 2},
		{Name: "revoked", Created: 5, Revoked: 30}, {Name: "bob's", Created: 1, Owner: bob.ID},
	} {
		v.ID, v.Owner = keys.ID{1, byte(n)}, max(v.Owner, alice.ID)
		f.addToken(v)
		byID[v.ID] = v.Name
		if v.Owner == alice.ID {
			names = append(names, v.Name)
		}
	}
	for what, c := range map[string]struct {
		q    read.Owned
		want []string
	}{
		"live":            {read.Owned{}, names[:3]},
		"all":             {read.Owned{Revoked: true}, names},
		"the newest":      {read.Owned{Newest: true}, []string{"third", "second", "first"}},
		"all, the newest": {read.Owned{Newest: true, Revoked: true}, []string{"revoked", "third", "second", "first"}},
	} {
		c.q.Owner = alice.ID
		for from := range len(c.want) + 1 {
			var got []string
			q := c.q
			err := f.read(func(rd *read.Reader) error {
				n := 0
				for k := range rd.OwnedKeys(q) {
					if n++; n == from {
						q.After = string(k)
						break
					}
				}
				for k := range rd.OwnedKeys(q) {
					_, id := record.CutOwnedKey(k)
					got = append(got, byID[id])
				}
				return nil
			})
			if err != nil || !slices.Equal(got, c.want[from:]) {
				t.Errorf("%s, after %d: got %q, %v, want %q", what, from, got, err, c.want[from:])
			}
		}
	}
}

func TestLists(t *testing.T) {
	f := start(t)
	f.addUser(alice)
	v := record.Token{ID: keys.ID{1, 2}, Owner: alice.ID, Name: "nightly", Created: 1000, LastUsed: 1000}
	other := record.Token{ID: keys.ID{1, 1}, Owner: 9, Name: "of a user whose record is gone", Created: 1000, LastUsed: 1000}
	f.addToken(v)
	f.addToken(other)
	l := read.Lists{View: f.read}
	for owner, want := range map[record.UserID][]string{alice.ID: {v.Name}, 10: nil} {
		var got []string
		if err := l.Tokens(owner, func(v record.Token) bool { got = append(got, v.Name); return true }); err != nil || !slices.Equal(got, want) {
			t.Errorf("tokens of %d: got %q, %v, want %q", owner, got, err, want)
		}
	}
	// Two tokens of one first random byte, and one of another key.
	third := record.Token{ID: keys.ID{3, 1}, Owner: alice.ID, Name: "third", Created: 1000, LastUsed: 1000}
	f.addToken(third)
	for first, want := range map[byte][]string{1: {other.Name, third.Name}, 2: {v.Name}, 3: nil} {
		var got []string
		if err := l.TokensIn(first, func(v *record.Token) { got = append(got, v.Name) }); err != nil || !slices.Equal(got, want) {
			t.Errorf("tokens in %d: got %q, %v, want %q", first, got, err, want)
		}
		n := 0
		if err := l.KeysIn(first, func(keys.ID) { n++ }); err != nil || n != len(want) {
			t.Errorf("ids in %d: got %d, %v, want %d", first, n, err, len(want))
		}
	}
	use := record.UsageRecord{Used: record.UsedAt(5000)}
	use.Saw(record.Seen{Origin: record.Origin{Address: netip.MustParseAddr("192.0.2.1")}, Time: 5000})
	f.Put(record.Op{Key: record.UsageKey(third.ID), Value: use.Value()})
	e, _, _ := f.table.Get(third.ID)
	f.table.Touch(third.ID, e.Slot, 9000, record.Origin{Address: netip.MustParseAddr("192.0.2.2")})
	seen := map[keys.ID]int{}
	if err := l.SeenIn(1, func(id keys.ID, list []record.Seen) { seen[id] = len(list) }); err != nil || len(seen) != 1 || seen[third.ID] != 2 {
		t.Errorf("seen: got %v, %v, want only the one that was used, at both addresses", seen, err)
	}
	for id, want := range map[keys.ID]bool{third.ID: true, {3, 2}: false} {
		if got, ok, err := l.Token(id); ok != want || err != nil || ok && got.Name != third.Name {
			t.Errorf("token %s: got %+v, %t, %v, want %t", id, got, ok, err, want)
		}
	}
	for first, want := range map[byte]int{alice.ID.Bytes()[0]: 1, ^alice.ID.Bytes()[0]: 0} {
		users := 0
		if err := l.UsersIn(first, func(record.User) { users++ }); err != nil || users != want {
			t.Errorf("got %d users, %v, want %d", users, err, want)
		}
	}
	f.Spoil(record.UserKey(alice.ID), []byte("alice"))
	if err := l.UsersIn(alice.ID.Bytes()[0], func(record.User) {}); !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("a damaged user: got %v", err)
	}
}
