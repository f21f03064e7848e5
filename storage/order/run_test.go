package order_test

import (
	"errors"
	"maps"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/order"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

// matches has a match for each thing that filters can ask about.
var matches = map[string]*order.Match{
	"created": {Created: order.Span{From: 1}},
	"ends":    {Ends: order.Span{From: order.Never}},
	"name":    {Name: func(name string) bool { return name == "ci" }},
	"by":      {By: func(by string) bool { return by == "maker" }},
	"limits":  {Limits: func(scopes []string, _ []netip.Prefix) bool { return len(scopes) > 0 }},
	"seen":    {Seen: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	"search":  {Search: []string{"ada", "1"}},
	"owner":   {Owner: func(p *order.Person) bool { return p.Source == "" }},
	"state":   {State: func(s record.UserState) bool { return s == record.UserRemoved }},
	"none":    nil,
}

// run has the views read everything, and stops them at the end of the test.
func (h *house) run() (ready, done chan struct{}) {
	ready, done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		h.views.Run(true, func() { close(ready) })
	}()
	h.t.Cleanup(func() {
		if h.closing != nil {
			close(h.closing)
		}
		await(h.t, done, "Run to end")
	})
	return ready, done
}

func await(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("waited a minute for %s", what)
	}
}

// ask asks by every match, in each order, for tokens with and without the dead, and for
// users in each order.
func (h *house) ask(what string) {
	h.t.Helper()
	for name, m := range matches {
		for _, f := range []order.TokenFilter{{}, {Order: order.Created}, {Revoked: true}, {NeverUsed: true}, {UsedSince: h.now / 2, Reverse: true}, {IdleSince: h.now}, {Prefix: "01"}} {
			f.Match = m
			if _, err := h.views.Count(f); err != nil {
				h.t.Fatalf("%s, %s: %v", what, name, err)
			}
			f.Limit = 10
			if _, err := h.views.Places(f); err != nil {
				h.t.Fatalf("%s, %s: %v", what, name, err)
			}
		}
	}
	for by := range order.By(4) {
		f := order.UserFilter{Order: by, Limit: 5, Match: func(p *order.Person) bool { return p.State == record.UserActive }}
		if _, err := h.views.Users(f); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestRun: what queries ask for is read without a query, and then no query reads a record.
// When tokens have changed since, it reads only those.
func TestRun(t *testing.T) {
	h := newHouse(t, 5)
	for range 400 {
		h.step()
	}
	for shard := range table.Shards { // otherwise each query reads the dead ones that were used just before
		h.table.Save(shard, ignore{}, h.views.NoteUses)
	}
	h.restart()
	ready, _ := h.run()
	await(t, ready, "everything to be read")
	before := maps.Clone(h.reads)
	for _, what := range []string{"UsersIn", "TokensIn", "SeenIn"} {
		if before[what] != 256 {
			t.Errorf("%s was called %d times", what, before[what])
		}
	}
	h.ask("after reading")
	before["Token"] = h.reads["Token"] // of the tokens that were used and not saved
	h.ask("again")
	if !maps.Equal(before, h.reads) {
		t.Errorf("queries read records: %v before, %v after", before, h.reads)
	}
	h.addToken()
	h.revoke(anyOf(h.rand, h.tokens))
	h.ask("after two changes")
	if got := h.reads["Token"] - before["Token"]; got != 2 {
		t.Errorf("after two changes %d records were read", got)
	}
	for n := range 200 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
}

// TestSeenBefore: a use makes no query read a record, unless its address is new and the record
// may drop another one for it.
func TestSeenBefore(t *testing.T) {
	h := newHouse(t, 6)
	token := anyOf(h.rand, h.tokens)
	use := func(addr string) {
		h.now++
		from := record.Origin{Address: netip.MustParseAddr(addr)}
		e, _, _ := h.table.Get(token.id)
		h.table.Touch(token.id, e.Slot, h.now, from)
		e, _, _ = h.table.Get(token.id)
		token.used = e.Used
		token.saw(from, h.now)
	}
	seen := func(addr string, want int) {
		t.Helper()
		m := &order.Match{Seen: []netip.Prefix{netip.MustParsePrefix(addr)}}
		if n, err := h.views.Count(order.TokenFilter{Match: m}); n != want || err != nil {
			t.Errorf("%d tokens were seen in %s (%v), want %d", n, addr, err, want)
		}
	}
	seen("192.0.2.0/24", 0)
	use("192.0.2.1")
	use("::ffff:198.51.100.7")
	seen("192.0.2.0/24", 1)
	seen("198.51.100.7/32", 1)
	before := h.reads["Token"]
	for range 3 {
		use("192.0.2.1")
		seen("192.0.2.0/24", 1)
		h.table.Save(int(token.id[1]), ignore{}, h.views.NoteUses)
		use("::ffff:198.51.100.7")
		seen("203.0.113.0/24", 0)
	}
	if got := h.reads["Token"] - before; got != 0 {
		t.Errorf("%d records were read though no address was new", got)
	}
	for n := range byte(record.MaxSeen) {
		use(netip.AddrFrom4([4]byte{203, 0, 113, n}).String())
		for known := range n + 1 {
			seen(netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, known}), 32).String(), 1)
		}
		room := int(n) < record.MaxSeen-2 // besides the two from before
		if read := h.reads["Token"] > before; read == room {
			t.Errorf("%d new addresses: a record was read: %v", n+1, read)
		}
	}
	seen("203.0.113.0/24", 1)
	seen("192.0.2.0/24", 0) // others have displaced it
}

// TestUsedOnceMore: a token is used while it is revoked, after a query has read it, at an
// address where it was seen before. Listings show that use.
func TestUsedOnceMore(t *testing.T) {
	h := newHouse(t, 7)
	token := anyOf(h.rand, h.tokens)
	from := record.Origin{Address: netip.MustParseAddr("192.0.2.1")}
	use := func() {
		t.Helper()
		h.now++
		h.table.Touch(token.id, 0, h.now, from)
		token.used = record.UsedAt(h.now)
		token.saw(from, h.now)
		h.table.Save(int(token.id[1]), ignore{}, h.views.NoteUses)
		places, err := h.views.Places(order.TokenFilter{Revoked: true, UsedSince: h.now, Limit: 10})
		if err != nil || len(places) != 1 || places[0].ID != token.id {
			t.Errorf("used at %d: got %+v, %v, want token %v", h.now, places, err, token.id)
		}
	}
	use()
	h.ask("after the first use")
	h.revoke(token)
	h.ask("after the revocation")
	use()
	use()
}

// TestNotesMeanwhile: what changes while a query reads the facts is noted until they are there,
// even if Run looks for notes then.
func TestNotesMeanwhile(t *testing.T) {
	h := newHouse(t, 11)
	over := make(chan struct{})
	go func() { defer close(over); h.views.Run(false, nil) }()
	defer func() { close(h.closing); <-over }()
	var early *token
	for _, t := range h.tokens {
		if early == nil || t.id[1] < early.id[1] {
			early = t
		}
	}
	h.midway = func() {
		early.name = "renamed"
		for range 1 << 10 { // then Run wakes
			h.views.NoteToken(early.id)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for range 2 {
		n, err := h.views.Count(order.TokenFilter{Match: &order.Match{Name: func(s string) bool { return s == "renamed" }}})
		if n != 1 || err != nil {
			t.Errorf("%d tokens have the new name (%v), want 1", n, err)
		}
	}
}

// TestManyUses: while a query looks at tokens, their uses may be saved, however many there are.
func TestManyUses(t *testing.T) {
	h := newHouse(t, 12)
	token := anyOf(h.rand, h.tokens)
	asks, saves := make(chan struct{}), make(chan struct{})
	var once sync.Once
	match := &order.Match{Name: func(string) bool {
		once.Do(func() { close(asks); <-saves; time.Sleep(50 * time.Millisecond) }) // NoteUses is called
		return true
	}}
	must.Get(h.views.Count(order.TokenFilter{Match: &order.Match{By: func(string) bool { return true }}}))(t)
	ended := make(chan error)
	go func() { _, err := h.views.Count(order.TokenFilter{Match: match}); ended <- err }()
	<-asks
	go h.table.Save(int(token.id[1]), ignore{}, func(func() []table.Sight) {
		close(saves)
		h.views.NoteUses(func() []table.Sight { return make([]table.Sight, 1<<18+1) })
	})
	select {
	case err := <-ended:
		must.Do(t, err)
	case <-time.After(time.Minute):
		t.Error("the query waits for the uses, and they for the query")
	}
}

// TestQueryJoins: a query that comes while all is read waits for it, takes part in it, and
// is exact, also about what has changed in the meantime.
func TestQueryJoins(t *testing.T) {
	h := newHouse(t, 7)
	began, asked := make(chan struct{}), make(chan struct{})
	h.midway = func() {
		for range 100 {
			h.step()
		}
		close(began)
	}
	h.held = asked
	ready, _ := h.run()
	await(t, began, "the reading to begin")
	close(asked)
	for n := range 50 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
	await(t, ready, "the reading to end")
	if got := h.reads["TokensIn"]; got != 256 {
		t.Errorf("the tokens of one byte were asked for %d times: the query has not joined", got)
	}
}

// TestCloseMidway: when the store closes, the reading ends before the next part, and so
// does a query that waits for it.
func TestCloseMidway(t *testing.T) {
	h := newHouse(t, 8)
	began, closed := make(chan struct{}), make(chan struct{})
	h.midway = func() { close(began) }
	h.held = closed
	_, done := h.run()
	await(t, began, "the reading to begin")
	failed := make(chan error, 1)
	go func() {
		_, err := h.views.Count(order.TokenFilter{Match: matches["name"]})
		failed <- err
	}()
	close(h.closing)
	h.closing = nil
	close(closed)
	await(t, done, "Run to end")
	select {
	case err := <-failed:
		if !errors.Is(err, disk.ErrClosed) {
			t.Errorf("the query that waited: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the query still waits")
	}
	if got, most := h.reads["TokensIn"], 129+2*runtime.GOMAXPROCS(0)+8; got > most {
		t.Errorf("%d parts were read, want at most %d", got, most)
	}
}

// TestReadAgain: a reading that has failed is tried again by the next query, and by no
// other.
func TestReadAgain(t *testing.T) {
	h := newHouse(t, 9)
	h.fault = errors.New("the disk is broken")
	h.run()
	for range 3 {
		if _, err := h.views.Count(order.TokenFilter{Match: matches["name"]}); !errors.Is(err, h.fault) {
			t.Fatalf("got %v, want the fault", err)
		}
	}
	h.mu.Lock()
	h.fault = nil
	h.mu.Unlock()
	h.ask("once it works")
	for n := range 50 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
}

// TestWaste: names that nobody has any more do not stay in memory.
func TestWaste(t *testing.T) {
	h := newHouse(t, 10)
	ready, _ := h.run()
	await(t, ready, "everything to be read")
	tk := anyOf(h.rand, h.tokens)
	name := func(n int) string {
		return strings.Repeat(string(rune('a'+n%26)), 30_000) + keys.ID{byte(n >> 8), byte(n)}.String()
	}
	for n := 0; ; n++ {
		h.mu.Lock()
		tk.name = name(n)
		again := h.reads["SeenIn"] > 256
		h.mu.Unlock()
		if again {
			break
		}
		if n > 100_000 {
			t.Fatal("a hundred thousand names, and the facts were never read again")
		}
		h.views.NoteToken(tk.id)
		must.Get(h.views.Count(order.TokenFilter{Match: matches["name"]}))(t)
	}
	h.views.NoteToken(tk.id)
	for n := range 50 {
		h.checkTokens(n)
	}
}
