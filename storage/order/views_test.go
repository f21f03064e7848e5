package order_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/order"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// house is a table with its views, and a plain model of its content. The model also
// serves as the index.
type house struct {
	t      testing.TB
	rand   *rand.Rand
	now    int64
	table  *table.Table
	views  *order.Views
	users  map[record.UserID]*user
	tokens map[string]*token // by id: those that are not revoked
	dead   map[string]*token
	serial uint32
}

type user struct {
	id      record.UserID
	uid     string
	created int64
	removed bool
}

type token struct {
	id      keys.ID
	owner   *user
	created int64
	used    record.LastUse
}

func newHouse(t testing.TB, seed uint64) *house {
	h := &house{t: t, rand: rand.New(rand.NewPCG(3, seed)), now: 1 << 40, table: table.New(),
		users: map[record.UserID]*user{}, tokens: map[string]*token{}, dead: map[string]*token{}}
	h.views = order.New(h.table, h, func(key byte) bool { return key == 1 })
	h.views.MostRecent = 20
	h.table.Whole()
	for range 12 {
		h.addUser()
	}
	for range 150 {
		h.addToken()
	}
	return h
}

// house implements the index.

func (h *house) Held(id record.UserID, fn func(keys.ID, int64)) error {
	for _, t := range h.tokens {
		if t.owner.id == id {
			fn(t.id, t.created)
		}
	}
	return nil
}

func (h *house) Owned(first byte, fn func(keys.ID, int64)) error {
	for _, t := range h.tokens {
		if t.owner.id.Bytes()[0] == first {
			fn(t.id, t.created)
		}
	}
	return nil
}

func (h *house) Tokens(owner record.UserID, fn func(record.Token)) error {
	for _, list := range []map[string]*token{h.tokens, h.dead} {
		for _, t := range list {
			if owner == 0 || t.owner.id == owner {
				fn(record.Token{ID: t.id, Owner: t.owner.id, Created: t.created, LastUsed: t.used.Shown(t.created)})
			}
		}
	}
	return nil
}

func (h *house) Users(fn func(record.UserID, int64)) error {
	for _, u := range h.users {
		fn(u.id, u.created)
	}
	return nil
}

// What the writer and the flusher do:

func (h *house) save(u *user) {
	state := record.UserActive
	if u.removed {
		state = record.UserRemoved
	}
	n := h.table.Owners.Set(record.Owner{ID: u.id, State: state, UID: u.uid})
	h.views.NoteUser(n, record.User{ID: u.id, State: state, UID: u.uid, Created: u.created})
}

func (h *house) addUser() {
	h.serial++
	u := &user{id: record.UserID(h.rand.Uint64()), uid: fmt.Sprintf("%c%c%d@Example.com", 'a'+h.serial%3, 'A'+h.serial%2, h.serial), created: h.now}
	h.users[u.id] = u
	h.save(u)
}

func (h *house) addToken() {
	u := anyOf(h.rand, h.users)
	if u.removed {
		return
	}
	h.serial++
	t := &token{id: keys.ID{1}, owner: u, created: h.now, used: record.CreatedAt(h.now)}
	binary.BigEndian.PutUint64(t.id[1:], h.rand.Uint64())
	binary.BigEndian.PutUint32(t.id[10:], h.serial)
	h.tokens[t.id.String()] = t
	_, n, _ := h.table.Owners.Find(u.id)
	h.table.Put(table.Entry{ID: t.id, Owner: n, Used: t.used})
	h.views.NoteToken(t.id, t.created)
}

func (h *house) revoke(t *token) {
	delete(h.tokens, t.id.String())
	h.dead[t.id.String()] = t
	h.table.Remove(t.id)
	h.views.NoteToken(t.id, 0)
}

func (h *house) remove(u *user) {
	u.removed = true
	for _, t := range h.tokens {
		if t.owner == u {
			h.revoke(t)
		}
	}
	h.save(u)
}

// ignore is a log of uses that is not read.
type ignore struct{}

func (ignore) Origin(record.Origin) uint16                  { return 0 }
func (ignore) Use(keys.ID, record.LastUse, int64, uint16)   {}
func (ignore) Usage(keys.ID, record.LastUse, *record.Usage) {}

func (h *house) step() {
	if h.rand.IntN(3) > 0 {
		h.now += h.rand.Int64N(1500)
	}
	switch dice := h.rand.IntN(40); {
	case dice < 24:
		if t := anyOf(h.rand, h.tokens); t != nil {
			e, _, _ := h.table.Get(t.id)
			h.table.Touch(t.id, e.Slot, h.now, record.Origin{})
			e, _, _ = h.table.Get(t.id)
			t.used = e.Used
		}
	case dice < 30:
		h.addToken()
	case dice < 33:
		if t := anyOf(h.rand, h.tokens); t != nil {
			h.revoke(t)
		}
	case dice < 36:
		h.table.Save(h.rand.IntN(table.Shards), ignore{}, h.views.NoteUses)
	case dice < 37:
		for shard := range table.Shards {
			h.table.Save(shard, ignore{}, h.views.NoteUses)
		}
	case dice < 38:
		if u := anyOf(h.rand, h.users); !u.removed && h.rand.IntN(8) == 0 {
			h.remove(u)
			h.addUser()
		}
	case dice < 39:
		if u := anyOf(h.rand, h.users); !u.removed {
			h.serial++
			u.uid = fmt.Sprintf("b%d@example.com", h.serial)
			h.save(u)
		}
	case h.rand.IntN(3) == 0:
		h.addUser()
	}
}

// anyOf returns a random element of a map, the same one in each run.
func anyOf[K cmp.Ordered, V any](r *rand.Rand, m map[K]*V) *V {
	if len(m) == 0 {
		return nil
	}
	return m[slices.Sorted(maps.Keys(m))[r.IntN(len(m))]]
}

// TestViews compares pages and counts, in every order and with every filter,
// with a plain model. At the same time the tokens and users change, and the
// rows behind the pages are merged again and again.
func TestViews(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHouse(t, seed)
			for n := range 3000 {
				h.step()
				if n%700 == 699 {
					h.views.Forget()
				}
				if n%3 == 0 {
					h.checkTokens(n)
					h.checkUsers(n)
				}
			}
		})
	}
}

func (h *house) filter() (f order.TokenFilter) {
	f.Order = []order.By{order.LastUsed, order.Created}[h.rand.IntN(2)]
	f.Reverse = h.rand.IntN(2) == 0
	f.NeverUsed = h.rand.IntN(4) == 0
	f.Revoked = h.rand.IntN(8) == 0
	if h.rand.IntN(4) == 0 {
		f.Owner = anyOf(h.rand, h.users).id
	}
	if h.rand.IntN(3) == 0 {
		f.IdleSince = h.now - h.rand.Int64N(200_000)
	}
	switch h.rand.IntN(5) {
	case 0:
		if t := anyOf(h.rand, h.tokens); t != nil {
			f.Prefix = strings.ToUpper(t.id.String()[:1+h.rand.IntN(8)])
		}
	case 1:
		f.Prefix = []string{"A", "b", "Ca", "bb", "02", "nobody"}[h.rand.IntN(6)]
	}
	return f
}

func (h *house) places(f order.TokenFilter) (list []order.Place) {
	of := func(t *token) {
		switch {
		case f.Owner != 0 && t.owner.id != f.Owner:
		case f.NeverUsed && t.used.IsUse():
		case f.IdleSince != 0 && t.used.Ms() > f.IdleSince:
		case !strings.HasPrefix(t.id.String(), strings.ToLower(f.Prefix)) && (t.owner.removed || !strings.HasPrefix(record.Fold(t.owner.uid), record.Fold(f.Prefix))):
		case f.Order == order.Created:
			list = append(list, order.Place{At: t.created, ID: t.id})
		default:
			list = append(list, order.Place{At: t.used.Ms(), ID: t.id})
		}
	}
	for _, t := range h.tokens {
		of(t)
	}
	for _, t := range h.dead {
		if f.Revoked {
			of(t)
		}
	}
	slices.SortFunc(list, func(a, b order.Place) int {
		by := cmp.Or(cmp.Compare(a.At, b.At), bytes.Compare(a.ID[:], b.ID[:]))
		if f.Reverse {
			by = -by
		}
		return by
	})
	return list
}

func (h *house) checkTokens(n int) {
	h.t.Helper()
	f := h.filter()
	want := h.places(f)
	if got, err := h.views.Count(f); got != len(want) || err != nil {
		h.t.Fatalf("step %d, %+v: counted %d, %v, want %d", n, f, got, err, len(want))
	}
	f.Limit = 1 + h.rand.IntN(40)
	var got []order.Place
	for {
		page, err := h.views.Places(f)
		if err != nil {
			h.t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1]
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("step %d, %+v: got %d places, want %d:\n%v\n%v", n, f, len(got), len(want), got, want)
	}
}

func (h *house) checkUsers(n int) {
	h.t.Helper()
	f := order.UserFilter{Order: order.By(h.rand.IntN(4)), Reverse: h.rand.IntN(2) == 0, StaleSince: h.now - 60_000}
	f.Prefix = []string{"", "", "A", "b1", "ca", "x"}[h.rand.IntN(6)]
	var want []order.Standing
	for _, u := range h.users {
		if u.removed || !strings.HasPrefix(record.Fold(u.uid), record.Fold(f.Prefix)) {
			continue
		}
		s := order.Standing{UserPlace: order.UserPlace{UID: record.Fold(u.uid)}}
		_, s.Number, _ = h.table.Owners.Find(u.id)
		for _, t := range h.tokens {
			if t.owner == u {
				s.Held.Count(1, t.used, f.StaleSince)
			}
		}
		s.At = map[order.By]int64{order.LastUsed: s.Held.Used, order.Created: u.created, order.Tokens: int64(s.Held.Tokens)}[f.Order]
		want = append(want, s)
	}
	slices.SortFunc(want, func(a, b order.Standing) int {
		by := cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.UID, b.UID))
		if f.Reverse {
			by = -by
		}
		return by
	})
	if got, err := h.views.CountUsers(f.Prefix); got != len(want) || err != nil {
		h.t.Fatalf("step %d, %+v: counted %d users, %v, want %d", n, f, got, err, len(want))
	}
	f.Limit = 1 + h.rand.IntN(8)
	var got []order.Standing
	for {
		page, err := h.views.Users(f)
		if err != nil {
			h.t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].UserPlace
		f.After.UID = strings.ToUpper(f.After.UID)
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("step %d, %+v: got users\n%+v\nwant\n%+v", n, f, got, want)
	}
}
