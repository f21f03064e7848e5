package storage_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/order"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// matches ask for each thing that the file of a stop has.
var matches = map[string]*storage.Match{
	"created":   {Created: order.Span{From: 1, To: newClock().Milli() + 60_000}},
	"ends":      {Ends: order.Span{To: order.Never}},
	"name":      {Name: func(name string) bool { return strings.Contains(name, "n1") }},
	"maker":     {By: func(by string) bool { return by == admin.Name }},
	"scope":     {Limits: func(scopes []string, _ []netip.Prefix) bool { return slices.Contains(scopes, "read") }},
	"addresses": {Limits: func(_ []string, addresses []netip.Prefix) bool { return len(addresses) > 0 }},
	"from home": {Seen: []netip.Prefix{netip.PrefixFrom(home.Address, home.Address.BitLen())}},
	"from away": {Seen: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}},
	"person":    {Owner: func(p *storage.Person) bool { return strings.HasPrefix(p.UID, "a") }},
	"search":    {Search: []string{"n1"}},
}

// asked returns the answers to all these questions.
func asked(t *testing.T, s *storage.Store) string {
	t.Helper()
	<-s.Counted()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(matches)) {
		for _, revoked := range []bool{false, true} {
			ids := must.Get(s.MatchTokens(storage.TokenFilter{Order: storage.ByCreated, Revoked: revoked, Match: matches[name]}))(t)
			fmt.Fprintln(&b, name, revoked, ids)
		}
	}
	people := must.Get(s.People())(t)
	slices.SortFunc(people, func(a, b *storage.Person) int { return strings.Compare(a.UID, b.UID) })
	for _, p := range people {
		fmt.Fprintln(&b, *p)
	}
	for by := range storage.Order(4) {
		for u := range must.All(s.Users(storage.UserFilter{Order: by, Limit: 5}))(t) {
			fmt.Fprintln(&b, by, u.ID, u.Tokens)
		}
	}
	return b.String()
}

// wantSame opens a store, and a copy without the file of facts. Both must give the same
// answers, and the first must take them from the file, or not.
func wantSame(t *testing.T, dir string, opts storage.Options, fromFile bool) {
	t.Helper()
	without := copyDir(t, dir)
	must.Do(t, os.RemoveAll(filepath.Join(without, "store", "facts")))
	want := asked(t, openWith(t, without, opts))
	s := openWith(t, copyDir(t, dir), opts)
	<-s.Counted()
	if _, err := os.Stat(path(s, "facts")); err == nil {
		t.Error("the file is still there")
	}
	if got := asked(t, s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s = openWith(t, copyDir(t, dir), opts)
	<-s.Counted()
	must.Do(t, s.Opened(t.Context()))
	s.Index().Shut() // from here on nothing can be read there
	_, err := s.MatchTokens(storage.TokenFilter{Match: matches["name"]})
	if _, people := s.People(); err == nil {
		err = people
	}
	if err != nil && !errors.Is(err, storage.ErrClosed) || (err == nil) != fromFile {
		t.Errorf("without the index: got %v, and that it is from the file should be %t", err, fromFile)
	}
}

// busy makes random changes of everything that filters ask about.
func (c *populace) busy(steps int) {
	c.Helper()
	for n := range steps {
		c.step()
		id := c.ids[c.rand.IntN(len(c.ids))]
		var err error
		switch c.rand.IntN(5) {
		case 0:
			err = c.RenameToken(admin, id, fmt.Sprint("n", c.rand.IntN(30)))
		case 1:
			spec := storage.TokenSpec{Name: fmt.Sprint("made ", n), Scopes: []string{[]string{"read", "write"}[n%2]}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Lifetime: time.Hour.Milliseconds()}
			_, _, err = c.CreateToken(admin, c.users[c.rand.IntN(len(c.users))].ID, spec)
		default:
			c.Authenticate(c.tokens[id], storage.Origin{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(c.rand.IntN(40))}), Agent: "away"})
		}
		if err != nil && err != storage.ErrNoToken && err != storage.ErrNoUser {
			c.Fatal(err)
		}
	}
}

// stop stops the store, which was asked before if ask is set.
func (c *populace) stop(t *testing.T, ask bool) {
	t.Helper()
	if ask {
		asked(t, c.Store)
	}
	<-c.Counted()
	must.Do(t, c.Close())
}

// TestFacts: with what a stop leaves of the facts, a start gives the same answers as without,
// over a random history of changes, stops and kills, of servers and of commands.
func TestFacts(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now}
	c.busy(100)
	c.stop(t, true)
	for n := range 4 {
		wantSame(t, c.Dir(), opts, true)
		opts.Early = n%2 == 0
		c.Store = openWith(c.TB, c.Dir(), opts)
		if n%2 == 0 {
			asked(t, c.Store)
		}
		c.busy(20 + c.rand.IntN(40))
		if n == 1 {
			c.Store, _ = killed(t, c.Store, c.Dir(), opts, true)
			wantSame(t, copyDir(t, c.Dir()), opts, false)
			asked(t, c.Store)
			c.busy(10)
		}
		c.stop(t, false)
	}
}

// TestFactsLeft: uses that a stop had no time to bring into the index are in the facts
// already, and the next start brings them in without reading a token again.
func TestFactsLeft(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now}
	asked(t, c.Store)
	c.busy(50)
	stopped(t, c.Store)
	wantSame(t, c.Dir(), opts, true)
}

// TestFactsKilled: after a kill at any time, the next start does not find the file of the
// stop before.
func TestFactsKilled(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now, Early: true}
	c.stop(t, true)
	c.Store = openWith(c.TB, c.Dir(), opts)
	if _, err := os.Stat(path(c.Store, "facts")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the start: %v", err)
	}
	for _, id := range c.ids[:5] { // nothing but uses
		c.Authenticate(c.tokens[id], home)
	}
	must.Do(t, c.Uses().SaveAll())
	wantSame(t, copyDir(t, c.Dir()), opts, false)
}

// TestFactsElsewhere: the file of another moment is not used: not beside a store that has
// later changes, later uses, or both; nor if another part of the store is older.
func TestFactsElsewhere(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now}
	change := func() {
		must.Do(t, c.RenameToken(admin, c.ids[0], fmt.Sprint("n1", c.rand.Int32())))
	}
	use := func() {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(c.rand.IntN(15))})
		c.clock.Move(time.Second)
		must.Get(c.Authenticate(c.tokens[c.ids[1]], storage.Origin{Address: addr}))(t)
	}
	for what, later := range map[string]func(){
		"a change": change, "a use": use, "both": func() { change(); use() }, "nothing": func() {},
	} {
		t.Run(what, func(t *testing.T) {
			c.stop(t, true)
			older := copyDir(t, c.Dir())
			c.Store = openWith(c.TB, c.Dir(), opts)
			later()
			c.stop(t, true)
			newer := copyDir(t, c.Dir())
			c.Store = openWith(c.TB, c.Dir(), opts)
			for _, part := range []string{"facts", "table", "uses", "index"} {
				mixed := copyDir(t, newer)
				to := filepath.Join(mixed, "store", part)
				must.Do(t, os.RemoveAll(to))
				must.Do(t, storagetest.CopyStore(filepath.Join(older, "store", part), to))
				if part == "index" && what != "a change" && what != "both" {
					continue // the older index lacks uses that the log of uses has no more
				}
				wantSame(t, mixed, opts, false)
			}
		})
	}
}

// TestFactsDamaged: damage anywhere costs time, and no answer.
func TestFactsDamaged(t *testing.T) {
	c := newPopulace(t)
	c.busy(50)
	c.stop(t, true)
	whole := must.Get(os.ReadFile(path(c.Store, "facts")))(t)
	r := rand.New(rand.NewPCG(3, 4))
	tokens := slices.Clone(whole)
	tokens[8000] ^= 4
	flipped := slices.Clone(whole)
	flipped[r.IntN(len(flipped))] ^= 1
	for what, b := range map[string][]byte{
		"empty": {}, "cut off in its head": whole[:100], "cut off": whole[:len(whole)-1], "flipped": flipped, "flipped in a part": tokens,
	} {
		t.Run(what, func(t *testing.T) {
			dir := copyDir(t, c.Dir())
			must.Do(t, os.WriteFile(filepath.Join(dir, "store", "facts"), b, 0o600))
			wantSame(t, dir, storage.Options{Now: c.clock.Now}, false)
		})
	}
}

// TestFactsNot: a stop goes well if the facts can't be written, and a start if their file
// can't be removed.
func TestFactsNot(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now}
	asked(t, c.Store)
	need := c.Table().FileSize() + c.Views().FileSize()/2 + c.Disk().Watermark()
	c.Disk().MeasureBy(func(string) (uint64, error) { return need, nil })
	c.stop(t, true)
	if _, err := os.Stat(path(c.Store, "facts")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("on a full disk: %v", err)
	}
	wantSame(t, c.Dir(), opts, false)
	must.Do(t, os.MkdirAll(filepath.Join(path(c.Store, "facts"), "something"), 0o700))
	for range 2 {
		log := new(storagetest.Log)
		opts.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Store = openWith(c.TB, c.Dir(), opts)
		if said := log.String(); !strings.Contains(said, "what queries ask for is read again") {
			t.Errorf("it was used: %s", said)
		}
		c.stop(t, true)
	}
	if left, err := filepath.Glob(filepath.Join(path(c.Store, ""), ".facts*")); len(left) > 0 || err != nil {
		t.Errorf("these are left: %q, %v", left, err)
	}
}

// TestFactsKept: a command that asks nothing keeps the facts, unless it changes much.
func TestFactsKept(t *testing.T) {
	c := newPopulace(t)
	opts := storage.Options{Now: c.clock.Now}
	c.stop(t, true)
	c.Store = openWith(c.TB, c.Dir(), opts)
	c.make()
	c.stop(t, false)
	wantSame(t, c.Dir(), opts, true)
	c.Store = openWith(c.TB, c.Dir(), opts)
	var users []storage.User
	for n := range 5000 {
		users = append(users, storage.User{UID: fmt.Sprintf("many%d@example.com", n), Source: storage.SourceLocal})
	}
	must.Get(c.ImportUsers(admin, users))(t)
	c.stop(t, false)
	c.Store = openWith(c.TB, c.Dir(), opts)
	must.Get(c.RotateKey(admin, 0))(t)
	c.stop(t, true)
	wantSame(t, c.Dir(), opts, true)
}

// BenchmarkFacts measures the first query after a start, with the file of the stop and
// without, and the stop.
func BenchmarkFacts(b *testing.B) {
	dir := b.TempDir()
	s := openWith(b, dir, storage.Options{})
	most := 100_000
	if testing.Short() {
		most = 10_000
	}
	users := importUsers(b, s, most/10, func(n int) storage.User { return storage.User{UID: benchName(n), Source: storage.SourceLocal} })
	importTokens(b, s, users, most, nil)
	must.Do(b, s.Close())
	for _, with := range []bool{true, false} {
		b.Run(fmt.Sprintf("with %t", with), func(b *testing.B) {
			var stops time.Duration
			for range b.N {
				b.StopTimer()
				s := openWith(b, dir, storage.Options{})
				<-s.Counted()
				b.StartTimer()
				for _, m := range []*order.Match{matches["name"], matches["person"]} {
					must.Get(s.MatchTokens(storage.TokenFilter{Match: m}))(b)
				}
				b.StopTimer()
				start := time.Now()
				must.Do(b, s.Close())
				stops += time.Since(start)
				if !with {
					os.Remove(path(s, "facts"))
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(stops.Milliseconds())/float64(b.N), "ms/stop")
		})
	}
}
