package storage_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// useModel is what a token's usage must be.
type useModel struct {
	last int64
	uses int64
	days map[int32]int64
	seen []storage.Seen
}

func (m *useModel) use(ms int64, from storage.Origin) {
	m.last = ms
	m.uses++
	if m.days == nil {
		m.days = map[int32]int64{}
	}
	m.days[record.DayOf(ms)]++
	m.seen = slices.DeleteFunc(m.seen, func(v storage.Seen) bool { return v.Address == from.Address })
	m.seen = slices.Insert(m.seen, 0, storage.Seen{Origin: from, Time: ms})
	m.seen = m.seen[:min(len(m.seen), record.MaxSeen)]
}

func (m *useModel) compare(t *testing.T, when string, got storage.Token, now int64) {
	t.Helper()
	var days []int64
	for ago := record.KeepDays - 1; ago >= 0; ago-- {
		days = append(days, m.days[record.DayOf(now)-int32(ago)])
	}
	if got.Usage.Uses != m.uses || !reflect.DeepEqual(got.Usage.Days(now), days) {
		t.Fatalf("%s: got %d uses, %v a day, want %d, %v", when, got.Usage.Uses, got.Usage.Days(now), m.uses, days)
	}
	if len(m.seen) > 0 && (!slices.Equal(got.Usage.Seen, m.seen) || got.LastUsed != m.last) {
		t.Fatalf("%s: got %v at %d, want %v at %d", when, got.Usage.Seen, got.LastUsed, m.seen, m.last)
	}
}

// TestUsage uses tokens from several places, over days, merges, stops and
// kills, and finds every use again.
func TestUsage(t *testing.T) {
	seeds, steps := uint64(2), 1500
	if testing.Short() {
		seeds, steps = 1, 300
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { usageStory(t, rand.New(rand.NewPCG(7, seed)), steps) })
	}
}

func usageStory(t *testing.T, r *rand.Rand, steps int) {
	clock := newClock()
	opts := timed(t, clock)
	dir := t.TempDir()
	s := openWith(t, dir, opts)
	u := addUser(t, s, "alice@example.com")
	var secrets [12]string
	var ids [len(secrets)]storage.ID
	for n := range secrets {
		ids[n], secrets[n] = create(t, s, u)
	}
	models := map[storage.ID]*useModel{}
	for _, id := range ids {
		models[id] = new(useModel)
	}
	clock.Move(time.Second) // a use in the millisecond of the creation is shown in the next
	for step := range steps {
		if r.IntN(3) > 0 { // or in the same millisecond
			clock.Move(time.Duration(1+r.IntN(2000)) * time.Millisecond)
		}
		switch dice := r.IntN(1000); {
		case dice < 10:
			clock.Move(time.Duration(r.IntN(5*24)) * time.Hour)
		case dice < 18:
			s, dir = killed(t, s, dir, opts, r.IntN(2) == 0)
		case dice < 26:
			s = reopened(t, s, dir, opts)
		case dice < 34:
			stopped(t, s)
			opts.Early = r.IntN(2) == 0
			s = openWith(t, dir, opts)
		case dice < 48:
			<-s.Counted()
			must.Do(t, s.Flush(context.Background()))
		case dice < 58:
			<-s.Counted()
			shorten(t, s, r.IntN(table.Shards+uses.Slices))
		default:
			n := r.IntN(len(secrets))
			from := storage.Origin{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(7))}), Agent: fmt.Sprint("agent ", r.IntN(2))}
			must.Get(s.Authenticate(secrets[n], from))(t)
			models[ids[n]].use(clock.Milli(), from)
		}
		if step%100 == 0 {
			compareUsage(t, s, models, clock.Milli())
		}
	}
	compareUsage(t, s, models, clock.Milli())
}

// shorten begins to shorten the log of uses, and continues for the given number
// of ticks.
func shorten(t *testing.T, s *storage.Store, ticks int) {
	t.Helper()
	s.Uses().Shorten()
	for slice := range ticks {
		must.Do(t, s.Uses().Tick(slice%uses.Slices, 0))
	}
}

// logSize returns the size of the log of uses in bytes.
func logSize(t *testing.T, s *storage.Store) (bytes int64) {
	t.Helper()
	entries := must.Get(os.ReadDir(path(s, "uses")))(t)
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // otherwise it was just dropped
			bytes += info.Size()
		}
	}
	return bytes
}

// However often tokens are used, after shortening the log of uses names each of
// them a few times at most, and after a kill no use is lost.
func TestUseLogIsKeptShort(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	opts := timed(t, clock)
	s := openWith(t, dir, opts)
	u := addUser(t, s, "alice@example.com")
	kept, secret := create(t, s, u)
	gone, other := create(t, s, u)
	clock.Move(time.Second)
	models := map[storage.ID]*useModel{kept: {}, gone: {}}
	use := func(id storage.ID, secret string) {
		must.Get(s.Authenticate(secret, home))(t)
		models[id].use(clock.Milli(), home)
	}
	s.Uses().RLock() // nothing is brought into Badger
	for range 1000 {
		use(kept, secret)
		use(gone, other)
		must.Do(t, s.Uses().SaveAll())
	}
	long := logSize(t, s)
	must.Get(s.RevokeTokens(admin, gone))(t)
	shorten(t, s, table.Shards)
	if got := logSize(t, s); got == 0 || got > long/100 {
		t.Errorf("the log has %d bytes, after %d", got, long)
	}
	s.Uses().RUnlock()
	s, _ = killed(t, s, dir, opts, true)
	compareUsage(t, s, models, clock.Milli())
}

// The newest five addresses of a token are kept, even when all uses happen in
// one millisecond. A client that sends another agent each time does not
// displace any address.
func TestSeen(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	opts := timed(t, clock)
	s := openWith(t, dir, opts)
	id, secret := create(t, s, addUser(t, s, "alice@example.com"))
	use := func(n int, agent string) {
		must.Get(s.Authenticate(secret, storage.Origin{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Agent: agent}))(t)
	}
	check := func(when, want string) {
		t.Helper()
		tok, err := s.Token(id)
		got := ""
		for _, v := range tok.Usage.Seen {
			got += fmt.Sprintf("%d %s,", v.Address.As4()[3], v.Agent)
		}
		if err != nil || got != want {
			t.Fatalf("%s: got %q, %v, want %q", when, got, err, want)
		}
	}
	for n := range 7 {
		use(n, "a")
	}
	check("in one millisecond", "6 a,5 a,4 a,3 a,2 a,")
	for n := range 7 {
		use(6, fmt.Sprint("b", n))
	}
	want := "6 b6,5 a,4 a,3 a,2 a,"
	check("by one with many names", want)
	s, dir = killed(t, s, dir, opts, false)
	<-s.Counted()
	check("after a kill", want)
	use(1, "c")
	use(2, "c")
	must.Do(t, s.Flush(t.Context()))
	want = "2 c,1 c,6 b6,5 a,4 a,"
	check("after a flush", want)
	s = reopened(t, s, dir, opts)
	check("after a stop", want)
	use(3, "d")
	check("after a start", "3 d,2 c,1 c,6 b6,5 a,")
}

func compareUsage(t *testing.T, s *storage.Store, models map[storage.ID]*useModel, now int64) {
	t.Helper()
	<-s.Counted()
	for tok := range must.All(s.Tokens(storage.TokenFilter{}))(t) {
		models[tok.ID].compare(t, "in a listing", tok, now)
	}
	for id, m := range models {
		tok := must.Get(s.Token(id))(t)
		m.compare(t, "alone", tok, now)
	}
}

// killed goes on with a copy of the directory as it is after a tick. If early is
// set, it copies before the uses from the previous kill are in Badger.
func killed(t *testing.T, s *storage.Store, dir string, opts storage.Options, early bool) (*storage.Store, string) {
	t.Helper()
	if !early {
		<-s.Counted()
	}
	must.Do(t, s.Uses().SaveAll())
	at := func() string {
		s.Uses().RLock() // stops between two batches
		defer s.Uses().RUnlock()
		return copyDir(t, dir)
	}()
	must.Do(t, s.Close())
	return openWith(t, at, opts), at
}

func reopened(t *testing.T, s *storage.Store, dir string, opts storage.Options) *storage.Store {
	t.Helper()
	must.Do(t, s.Close())
	return openWith(t, dir, opts)
}

// TestUsesAtOnce counts uses from many sides while they are merged and listed:
// none is missing, none is counted twice, and no reader sees the count go back.
func TestUsesAtOnce(t *testing.T) {
	s := open(t, t.TempDir())
	u := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, u)
	const users, each = 4, 3000
	var wg sync.WaitGroup
	for w := range users {
		wg.Go(func() {
			from := storage.Origin{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(w)}), Agent: "test"}
			for range each {
				if _, err := s.Authenticate(secret, from); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	last := int64(0)
	for busy := true; busy; {
		select {
		case <-done:
			busy = false
		default:
		}
		must.Do(t, s.Flush(t.Context()))
		for tok, err := range s.Tokens(storage.TokenFilter{}) {
			if err != nil || tok.Usage.Uses < last {
				t.Fatalf("got %d uses, %v, after %d", tok.Usage.Uses, err, last)
			}
			last = tok.Usage.Uses
		}
	}
	tok, err := s.Token(id)
	if err != nil || tok.Usage.Uses != users*each || len(tok.Usage.Seen) != users {
		t.Errorf("got %d uses from %d origins, %v, want %d from %d", tok.Usage.Uses, len(tok.Usage.Seen), err, users*each, users)
	}
}

// A use is still shown if it happens after the revocation but before the token
// leaves the table, or if it was not yet written then.
func TestUsesOfTheDeparted(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	s := openWith(t, dir, timed(t, clock))
	u := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, u)
	clock.Move(time.Hour)
	must.Get(s.Authenticate(secret, home))(t)
	must.Get(s.RevokeTokens(admin, id))(t)
	clock.Move(time.Second)
	s.Table().Touch(id, 0, clock.Milli(), home) // verified just before
	want := useModel{}
	want.use(clock.Milli()-1000, home)
	want.use(clock.Milli(), home)
	for _, when := range []string{"at once", "after a kill", "after a stop"} {
		tok := must.Get(s.Token(id))(t)
		want.compare(t, when, tok, clock.Milli())
		if when == "at once" {
			s, dir = killed(t, s, dir, timed(t, clock), false)
		} else {
			s = reopened(t, s, dir, timed(t, clock))
		}
		<-s.Counted()
	}
}

// killedAfterUse returns the directory of a store that was killed when the use of a token
// was in its log and not in the index. Before the kill it calls harm.
func killedAfterUse(t *testing.T, harm func(s *storage.Store, id storage.ID)) (dir string, id storage.ID, secret string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir)
	id, secret = create(t, s, addUser(t, s, "alice@example.com"))
	s.Uses().RLock() // nothing is brought into Badger now
	defer s.Uses().RUnlock()
	wantLive(t, s, secret)
	harm(s, id)
	must.Do(t, s.Uses().SaveAll())
	return copyDir(t, dir), id, secret
}

// A log of uses with a flipped bit loses uses, and nothing else.
func TestDamagedUseLog(t *testing.T) {
	at, id, secret := killedAfterUse(t, func(*storage.Store, storage.ID) {})
	logs := matching(t, at, "store/uses/*")
	flip(t, logs[len(logs)-1])
	again := open(t, at)
	<-again.Counted()
	if tok, err := again.Token(id); err != nil || tok.Usage.Uses != 0 || tok.LastUsed != tok.Created {
		t.Errorf("got %+v, %v, want a token that works and has no use", tok, err)
	}
	wantLive(t, again, secret)
}

// A kill leaves uses in the log, and a usage in Badger that does not verify. The
// index is filled again, and the uses in the log still count.
func TestUsesOverADamagedUsage(t *testing.T) {
	at, id, _ := killedAfterUse(t, func(s *storage.Store, id storage.ID) {
		must.Do(t, s.Index().Write(1, func(u *index.Update) error { return u.Hint(record.UsageKey(id), []byte("no usage"), 0) }))
	})
	again := open(t, at)
	<-again.Counted()
	if _, err := again.Snapshot(t.Context(), io.Discard); err != nil {
		t.Errorf("a backup: %v", err)
	}
	if tok, err := again.Token(id); err != nil || tok.Usage.Uses != 1 {
		t.Errorf("got %d uses, %v, want 1", tok.Usage.Uses, err)
	}
}
