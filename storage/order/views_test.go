package order_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
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
	in     [256][]*token // both, by the first random byte
	midway func()        // runs once while all tokens are read
	mu     sync.Mutex    // several goroutines read them
	serial uint32
	retire int64 // when all tokens of key 2 end; 0: never

	closing chan struct{}
	reads   map[string]int  // of the index, by method
	held    <-chan struct{} // while all tokens are read, after midway; nil: it goes on at once
	fault   error           // of reading tokens
	noUsers error           // of reading users
}

type user struct {
	id      record.UserID
	uid     string
	created int64
	removed bool
	name    string
}

type token struct {
	id        keys.ID
	owner     *user
	created   int64
	used      record.LastUse
	name      string
	expires   int64
	scopes    []string
	addresses []netip.Prefix
	seen      []record.Seen
	revoked   bool
}

// record is the token as the index has it.
func (t *token) record() record.Token {
	revoked := int64(0)
	if t.revoked {
		revoked = 99
	}
	return record.Token{
		Revoked: revoked, ID: t.id, Owner: t.owner.id, Created: t.created, LastUsed: t.used.Shown(t.created),
		Name: t.name, Expires: t.expires, Scopes: t.scopes, By: "maker",
		Addresses: t.addresses, Usage: record.Usage{Seen: slices.Clone(t.seen)},
	}
}

func (t *token) saw(from record.Origin, ms int64) {
	u := record.Usage{Seen: t.seen}
	u.Saw(record.Seen{Origin: from, Time: ms})
	t.seen = u.Seen
}

func newHouse(t testing.TB, seed uint64) *house {
	h := &house{t: t, rand: rand.New(rand.NewPCG(3, seed)), now: 1 << 40, table: table.New(),
		users: map[record.UserID]*user{}, tokens: map[string]*token{}, dead: map[string]*token{}, reads: map[string]int{}}
	if seed%2 == 1 {
		h.retire = h.now + 700_000
	}
	h.restart()
	h.table.Whole()
	for range 12 {
		h.addUser()
	}
	for range 150 {
		h.addToken()
	}
	return h
}

// restart makes views that have read nothing.
func (h *house) restart() {
	h.closing = make(chan struct{})
	h.views = order.New(h.table, h, func(key byte) bool { return key == 1 || key == 2 }, func(key byte) int64 { return h.keyEnds(key) }, h.closing)
}

func (h *house) keyEnds(key byte) int64 {
	if key == 2 {
		return h.retire
	}
	return 0
}

// ends is when a token ends, by itself or with its key; 0: never.
func (h *house) ends(t *token) int64 {
	key := h.keyEnds(t.id[0])
	if key == 0 || t.expires != 0 && t.expires < key {
		return t.expires
	}
	return key
}

// house implements the index.

func (h *house) Held(id record.UserID, fn func(keys.ID, int64) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["Held"]++
	for _, t := range h.tokens {
		if t.owner.id == id && !fn(t.id, t.created) {
			break
		}
	}
	return nil
}

func (h *house) Tokens(owner record.UserID, fn func(record.Token) bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range []map[string]*token{h.tokens, h.dead} {
		for _, t := range list {
			if t.owner.id == owner && !fn(t.record()) {
				return nil
			}
		}
	}
	return nil
}

func (h *house) TokensIn(first byte, fn func(*record.Token)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["TokensIn"]++
	if first == 128 && h.midway != nil {
		h.midway()
		h.midway = nil
		if h.held != nil {
			<-h.held
		}
	}
	if h.fault != nil {
		return h.fault
	}
	for _, t := range h.in[first] {
		r := t.record()
		r.Usage, r.LastUsed = record.Usage{}, 0
		fn(&r)
	}
	return nil
}

func (h *house) KeysIn(first byte, fn func(keys.ID)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["KeysIn"]++
	for _, t := range h.in[first] {
		fn(t.id)
	}
	return nil
}

func (h *house) SeenIn(first byte, fn func(keys.ID, []record.Seen)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["SeenIn"]++
	for n, t := range h.in[first] {
		if r := t.record(); len(r.Usage.Seen) > 0 && n%4 > 0 { // as if the others' uses were only in the table
			fn(r.ID, r.Usage.Seen)
		}
	}
	return nil
}

func (h *house) Token(id keys.ID) (record.Token, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["Token"]++
	for _, list := range []map[string]*token{h.tokens, h.dead} {
		if t, ok := list[id.String()]; ok {
			return t.record(), true, nil
		}
	}
	return record.Token{}, false, nil
}

func (h *house) UsersIn(first byte, fn func(record.User)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads["UsersIn"]++
	if h.noUsers != nil {
		return h.noUsers
	}
	for _, u := range h.users {
		if u.id.Bytes()[0] == first {
			fn(u.record())
		}
	}
	return nil
}

// What the writer and the flusher do:

func (u *user) record() record.User {
	r := record.User{ID: u.id, UID: u.uid, Name: u.name, Created: u.created}
	if u.removed {
		r.State = record.UserRemoved
	}
	return r
}

func (h *house) save(u *user) {
	r := u.record()
	h.views.NoteUser(h.table.Owners.Set(r.Owner()), r)
}

func (h *house) addUser() {
	h.serial++
	u := &user{id: record.UserID(h.rand.Uint64()), uid: fmt.Sprintf("%c%c%d@Example.com", 'a'+h.serial%3, 'A'+h.serial%2, h.serial), created: h.now, name: h.pick("Ada", "Bo", "Zoé")}
	h.users[u.id] = u
	h.save(u)
}

func (h *house) addToken() { h.addTokenOf(anyOf(h.rand, h.users)) }

func (h *house) addTokenOf(u *user) {
	if u.removed {
		return
	}
	h.serial++
	t := &token{id: keys.ID{1}, owner: u, created: h.now, used: record.CreatedAt(h.now), name: h.pick("", "ci", "cron", "laptop", fmt.Sprint(h.serial))}
	if h.rand.IntN(3) == 0 {
		t.expires, t.scopes = h.now+h.rand.Int64N(100_000), []string{h.pick("files", "deploy"), "more"}
		t.addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	if h.serial%4 == 0 {
		t.id[0] = 2
	}
	binary.BigEndian.PutUint64(t.id[1:], h.rand.Uint64())
	binary.BigEndian.PutUint32(t.id[10:], h.serial)
	h.tokens[t.id.String()] = t
	h.in[t.id[1]] = append(h.in[t.id[1]], t)
	_, n, _ := h.table.Owners.Find(u.id)
	h.table.Put(table.Entry{ID: t.id, Owner: n, Used: t.used, Flags: t.record().Flags()})
	h.views.NoteToken(t.id)
}

func (h *house) revoke(t *token) {
	delete(h.tokens, t.id.String())
	h.dead[t.id.String()] = t
	t.revoked = !t.owner.removed && h.rand.IntN(8) > 0 // or the keyring no longer has its key
	h.table.Remove(t.id)
	h.views.NoteToken(t.id)
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
			from := record.Origin{Address: netip.MustParseAddr(h.pick("10.0.0.1", "192.0.2.7", "2001:db8::1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"))}
			h.table.Touch(t.id, e.Slot, h.now, from)
			e, _, _ = h.table.Get(t.id)
			t.used = e.Used
			t.saw(from, h.now)
		}
	case dice < 30:
		h.addToken()
	case dice < 33:
		if t := anyOf(h.rand, h.tokens); t != nil {
			h.revoke(t)
		}
	case dice < 34:
		if t := anyOf(h.rand, h.tokens); t != nil {
			t.name = h.pick("", "nightly", fmt.Sprint(h.serial))
			h.views.NoteToken(t.id)
		}
	case dice < 35:
		if t := anyOf(h.rand, h.dead); t != nil && h.rand.IntN(4) == 0 { // its record is dropped
			delete(h.dead, t.id.String())
			h.in[t.id[1]] = slices.DeleteFunc(h.in[t.id[1]], func(o *token) bool { return o == t })
			h.views.NoteToken(t.id)
		}
	case dice < 36:
		shard := h.rand.IntN(table.Shards)
		h.table.Save(shard, ignore{}, h.views.NoteUses)
		if h.rand.IntN(2) == 0 {
			return
		}
		for shard := range table.Shards { // the flusher takes uses that it has not saved
			h.table.Take(shard, h.table.Top(shard), math.MaxInt, h.views.NoteUses)
		}
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

func (h *house) pick(list ...string) string { return list[h.rand.IntN(len(list))] }

// anyOf returns a random element of a map, the same one in each run.
func anyOf[K cmp.Ordered, V any](r *rand.Rand, m map[K]*V) *V {
	if len(m) == 0 {
		return nil
	}
	return m[slices.Sorted(maps.Keys(m))[r.IntN(len(m))]]
}

// TestViews compares pages and counts, in every order and with every filter,
// with a plain model. At the same time the tokens and users change.
func TestViews(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHouse(t, seed)
			for n := range 3000 {
				h.step()
				if n%300 == 299 {
					h.restart()
					h.readMidway()
				}
				if n%3 == 0 {
					h.checkTokens(n)
					h.checkUsers(n)
				}
			}
		})
	}
}

// readMidway has all tokens read while they change, and while somebody queries.
func (h *house) readMidway() {
	h.midway = func() {
		for range 60 {
			h.step()
		}
		if _, err := h.views.Count(order.TokenFilter{NeverUsed: true}); err != nil {
			h.t.Error(err)
		}
	}
	any := &order.Match{Name: func(string) bool { return true }}
	if _, err := h.views.Places(order.TokenFilter{Revoked: true, Match: any}); err != nil || h.midway != nil {
		h.t.Fatalf("tokens were not all read: %v", err)
	}
}

// match makes up a match of one to three things, and says in other terms what it takes.
func (h *house) match() (*order.Match, func(*token) bool) {
	m := new(order.Match)
	takes := h.matchOne(m)
	for range h.rand.IntN(3) {
		more := new(order.Match)
		also := h.matchOne(more)
		one, two := reflect.ValueOf(m).Elem(), reflect.ValueOf(more).Elem()
		for n := range one.NumField() {
			if f := one.Field(n); f.IsZero() && !two.Field(n).IsZero() {
				f.Set(two.Field(n))
				before := takes
				takes = func(t *token) bool { return before(t) && also(t) }
			}
		}
	}
	return m, takes
}

func (h *house) matchOne(m *order.Match) func(*token) bool {
	switch at := h.now - 50_000 + h.rand.Int64N(100_000); h.rand.IntN(10) {
	case 0:
		name := h.pick("ci", "c", "nightly", "1")
		m.Name = func(s string) bool { return strings.Contains(s, name) }
		return func(t *token) bool { return strings.Contains(t.name, name) }
	case 1:
		scope := h.pick("files", "deploy")
		m.Limits = func(scopes []string, _ []netip.Prefix) bool { return slices.Contains(scopes, scope) }
		return func(t *token) bool { return slices.Contains(t.scopes, scope) }
	case 2:
		m.Limits = func(_ []string, addresses []netip.Prefix) bool { return len(addresses) == 0 }
		return func(t *token) bool { return len(t.addresses) == 0 }
	case 3:
		m.Ends.To = at
		return func(t *token) bool { return h.ends(t) != 0 && h.ends(t) < at }
	case 4:
		m.Ends.From = [2]int64{at, order.Never}[h.rand.IntN(2)]
		return func(t *token) bool { return h.ends(t) == 0 || h.ends(t) >= m.Ends.From }
	case 5:
		in := netip.MustParsePrefix(h.pick("10.0.0.1/32", "10.0.0.0/29", "192.0.0.0/8", "2001:db8::/32", "::/0", "0.0.0.0/0"))
		m.Seen = []netip.Prefix{in}
		return func(t *token) bool {
			return slices.ContainsFunc(t.seen, func(s record.Seen) bool { return in.Contains(s.Address) })
		}
	case 6:
		m.Created = order.Span{From: at - 60_000, To: at}
		return func(t *token) bool { return t.created >= at-60_000 && t.created < at }
	case 7:
		name := h.pick("ada", "zoé")
		m.Owner = func(p *order.Person) bool { return p.Name == name }
		return func(t *token) bool { return record.Fold(t.owner.name) == name }
	case 8:
		removed := h.rand.IntN(2) == 0
		m.State = func(s record.UserState) bool { return s == record.UserRemoved == removed }
		m.By = func(by string) bool { return by == "maker" }
		return func(t *token) bool { return t.revoked || t.owner.removed || !removed }
	}
	m.Search = []string{h.pick("ada", "zoé", "ci", "nightly", "a1", "12"), h.pick("o", "1", "@example", "0")}
	return func(t *token) bool {
		return !slices.ContainsFunc(m.Search, func(w string) bool {
			return !slices.ContainsFunc([]string{t.owner.uid, t.owner.name, t.name, t.id.String()}, func(s string) bool {
				return strings.Contains(record.Fold(s), w)
			})
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
	if h.rand.IntN(4) == 0 {
		f.UsedSince = h.now - h.rand.Int64N(200_000)
	}
	if t := anyOf(h.rand, h.tokens); t != nil && h.rand.IntN(6) == 0 {
		f.ID = t.id.String()[:1+h.rand.IntN(6)]
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

func (h *house) places(f order.TokenFilter, takes func(*token) bool) (list []order.Place) {
	of := func(t *token) {
		switch {
		case takes != nil && !takes(t):
		case f.Owner != 0 && t.owner.id != f.Owner:
		case f.NeverUsed && t.used.IsUse():
		case f.UsedSince != 0 && (!t.used.IsUse() || t.used.Ms() < f.UsedSince):
		case f.IdleSince != 0 && t.used.Ms() > f.IdleSince:
		case !strings.HasPrefix(t.id.String(), strings.ToLower(f.Prefix)) && (t.owner.removed || !strings.HasPrefix(record.Fold(t.owner.uid), record.Fold(f.Prefix))):
		case !strings.HasPrefix(t.id.String(), f.ID):
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
	var takes func(*token) bool
	if h.rand.IntN(2) == 0 {
		f.Match, takes = h.match()
	}
	want := h.places(f, takes)
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
	if h.rand.IntN(2) == 0 {
		name := h.pick("ada", "bo", "nobody")
		f.Match = func(p *order.Person) bool { return p.Name == name }
	}
	var want []order.Standing
	for _, u := range h.users {
		if f.Match != nil && !f.Match(&order.Person{Name: record.Fold(u.name)}) {
			continue
		}
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
	if got, err := h.views.CountUsers(f.Prefix, f.Match); got != len(want) || err != nil {
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
