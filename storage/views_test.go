package storage_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// populace is a store with users and tokens that a test changes at random.
type populace struct {
	testing.TB
	*storage.Store
	clock  *storagetest.Clock
	rand   *rand.Rand
	users  []storage.User
	tokens map[storage.ID]string // the secrets of tokens that may be live
	ids    []storage.ID
}

func newPopulace(t testing.TB) *populace {
	c := &populace{TB: t, clock: newClock(), rand: rand.New(rand.NewPCG(7, 23)), tokens: map[storage.ID]string{}}
	c.Store = openWith(t, t.TempDir(), storage.Options{Now: c.clock.Now})
	<-c.Loaded()
	for n := range 12 {
		c.users = append(c.users, addUser(t, c.Store, fmt.Sprintf("%c%c%d@Example.com", 'a'+n%3, 'A'+n%2, n)))
	}
	for range 150 {
		c.make()
	}
	return c
}

func (c *populace) make() {
	tok, secret, err := c.CreateToken(admin, c.users[c.rand.IntN(len(c.users))].ID, storage.TokenSpec{})
	if err == storage.ErrNoUser {
		return
	}
	if err != nil {
		c.Fatal(err)
	}
	c.tokens[tok.ID], c.ids = secret.Reveal(), append(c.ids, tok.ID)
}

// step makes one random change.
func (c *populace) step() {
	if c.rand.IntN(3) > 0 {
		c.clock.Move(time.Duration(c.rand.IntN(1500)) * time.Millisecond)
	}
	id := c.ids[c.rand.IntN(len(c.ids))]
	n := c.rand.IntN(len(c.users))
	var err error
	switch dice := c.rand.IntN(40); {
	case dice < 24:
		c.Authenticate(c.tokens[id], home) // some are dead
	case dice < 30:
		c.make()
	case dice < 33:
		_, err = c.RevokeTokens(admin, id)
	case dice < 34:
		err = c.DisableUser(admin, c.users[n].UID)
	case dice < 35:
		err = c.EnableUser(admin, c.users[n].UID)
	case dice < 36:
		_, _, err = c.RotateToken(admin, id, 0, storage.ByUser)
	case dice < 37:
		err = c.Flush(context.Background())
	case dice < 38 && c.rand.IntN(8) == 0:
		if err = c.RemoveUser(admin, c.users[n].UID); err == nil {
			c.users[n] = addUser(c.TB, c.Store, fmt.Sprintf("%c%d@example.com", 'a'+n%3, c.rand.Int32()))
		}
	case dice < 39:
		c.users = append(c.users, addUser(c.TB, c.Store, fmt.Sprintf("b%d@example.com", c.rand.Int32())))
	}
	if err != nil && err != storage.ErrNoToken && err != storage.ErrNoUser {
		c.Fatal(err)
	}
}

// restart stops the store, and starts it as a server does.
func (c *populace) restart() {
	c.Helper()
	must.Do(c, c.Close())
	c.Store = openWith(c.TB, c.Dir(), storage.Options{Now: c.clock.Now, Early: true})
}

func (c *populace) filter() (f storage.TokenFilter) {
	f.Order = []storage.Order{storage.ByLastUsed, storage.ByCreated}[c.rand.IntN(2)]
	f.Reverse = c.rand.IntN(2) == 0
	f.NeverUsed = c.rand.IntN(4) == 0
	f.Revoked = c.rand.IntN(8) == 0
	if c.rand.IntN(3) == 0 {
		f.IdleSince = c.clock.Milli() - c.rand.Int64N(200_000)
	}
	if c.rand.IntN(4) == 0 {
		f.Owner = c.users[c.rand.IntN(len(c.users))].ID
	}
	switch id := c.ids[c.rand.IntN(len(c.ids))].String(); c.rand.IntN(5) {
	case 0:
		f.Prefix = strings.ToUpper(id[:1+c.rand.IntN(8)])
	case 1:
		f.Prefix = []string{"A", "b", "Ca", "bb", "nobody"}[c.rand.IntN(5)]
	}
	return f
}

// naive computes a listing from the records alone.
func (c *populace) naive(f storage.TokenFilter) (want []storage.ID) {
	var list []storage.Token
	for t := range must.All(c.Tokens(storage.TokenFilter{Revoked: true}))(c) {
		uid := record.Fold(c.UID(t.Owner))
		switch {
		case !f.Revoked && (t.Revoked != 0 || t.OwnerState == storage.UserRemoved):
		case f.Owner != 0 && t.Owner != f.Owner:
		case f.NeverUsed && t.LastUsed != t.Created:
		case f.IdleSince != 0 && t.LastUsed > f.IdleSince:
		case !strings.HasPrefix(t.ID.String(), strings.ToLower(f.Prefix)) && (t.OwnerState == storage.UserRemoved || !strings.HasPrefix(uid, record.Fold(f.Prefix))):
		default:
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b storage.Token) int {
		by := cmp.Compare(a.LastUsed, b.LastUsed)
		if f.Order == storage.ByCreated {
			by = cmp.Compare(a.Created, b.Created)
		}
		by = cmp.Or(by, strings.Compare(a.ID.String(), b.ID.String()))
		if f.Reverse {
			by = -by
		}
		return by
	})
	for _, t := range list {
		want = append(want, t.ID)
	}
	return want
}

// paged computes a listing page by page.
func (c *populace) paged(f storage.TokenFilter) (got []storage.ID) {
	for {
		page := 0
		for t := range must.All(c.Tokens(f))(c) {
			got = append(got, t.ID)
			if f.After = (storage.Place{At: t.LastUsed, ID: t.ID}); f.Order == storage.ByCreated {
				f.After.At = t.Created
			}
			page++
		}
		if page < f.Limit || f.Limit == 0 {
			return got
		}
	}
}

// rounds reduces n when the race detector is on, which makes each round ten
// times slower.
func rounds(n int) int {
	if raceEnabled {
		return n / 5
	}
	return n
}

// TestPages compares pages and counts, in every order and with every filter,
// with the records. At the same time the store changes, and the rows behind the
// pages are merged again and again.
func TestPages(t *testing.T) {
	storagetest.Slow(t)
	c := newPopulace(t)
	for n := range rounds(1500) {
		c.step()
		if n%300 == 299 {
			c.restart()
		}
		if n%3 != 0 {
			continue
		}
		f := c.filter()
		want := c.naive(f)
		f.Limit = c.rand.IntN(40)
		if got := c.paged(f); !slices.Equal(got, want) {
			t.Fatalf("step %d, %+v: got %d tokens, want %d:\n%v\n%v", n, f, len(got), len(want), got, want)
		}
		if got, err := c.CountTokens(f); got != len(want) || err != nil {
			t.Fatalf("step %d, %+v: counted %d, %v, want %d", n, f, got, err, len(want))
		}
		if got, want := c.TokenCount(), len(c.naive(storage.TokenFilter{})); got != want {
			t.Fatalf("step %d: got %d tokens, want %d", n, got, want)
		}
		c.checkUsers(n)
	}
}

// checkUsers compares a listing of users with their tokens.
func (c *populace) checkUsers(n int) {
	f := storage.UserFilter{Order: storage.Order(c.rand.IntN(4)), Reverse: c.rand.IntN(2) == 0, StaleSince: c.clock.Milli() - 60_000}
	f.Prefix = []string{"", "", "A", "b1", "ca", "x"}[c.rand.IntN(6)]
	var want []storage.UserInfo
	for _, u := range c.users {
		if !strings.HasPrefix(record.Fold(u.UID), record.Fold(f.Prefix)) {
			continue
		}
		info := storage.UserInfo{User: storage.User{UID: u.UID, Created: u.Created}}
		list := must.Get(tokensOf(c.Store, u.ID))(c)
		for _, t := range list {
			info.Tokens++
			if t.LastUsed != t.Created {
				info.LastUsed = max(info.LastUsed, t.LastUsed)
			}
			if t.LastUsed <= f.StaleSince {
				info.Stale++
			}
		}
		want = append(want, info)
	}
	key := func(u storage.UserInfo) int64 {
		return map[storage.Order]int64{storage.ByLastUsed: u.LastUsed, storage.ByCreated: u.Created, storage.ByTokens: int64(u.Tokens)}[f.Order]
	}
	slices.SortFunc(want, func(a, b storage.UserInfo) int {
		by := cmp.Or(cmp.Compare(key(a), key(b)), strings.Compare(record.Fold(a.UID), record.Fold(b.UID)))
		if f.Reverse {
			by = -by
		}
		return by
	})
	f.Limit = 1 + c.rand.IntN(8)
	var got []storage.UserInfo
	for more := true; more; {
		page := 0
		for u := range must.All(c.Users(f))(c) {
			got = append(got, storage.UserInfo{User: storage.User{UID: u.UID, Created: u.Created}, Tokens: u.Tokens, Stale: u.Stale, LastUsed: u.LastUsed})
			f.After = storage.UserPlace{At: key(u), UID: strings.ToUpper(u.UID)}
			page++
		}
		more = page == f.Limit
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.Fatalf("step %d, users %+v: got\n%+v\nwant\n%+v", n, f, got, want)
	}
	if count, err := c.CountUsers(f.Prefix, nil); count != len(want) || err != nil {
		c.Fatalf("step %d: counted %d users with %q, %v, want %d", n, count, f.Prefix, err, len(want))
	}
}

// While many goroutines use, create and revoke tokens, a token that nobody
// touches is on exactly one page, no token is listed twice in a row, and no
// token that was dead before the listing began is on a page.
func TestPagesMeanwhile(t *testing.T) {
	storagetest.Slow(t)
	c := newPopulace(t)
	still, moving := c.ids[:60], c.ids[60:]
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range 3 {
		r := rand.New(rand.NewPCG(uint64(w), 1))
		wg.Go(func() {
			for made := 0; !stop.Load(); {
				c.clock.Move(time.Millisecond)
				c.Authenticate(c.tokens[moving[r.IntN(len(moving)/2)]], home)
				if made < 500 && r.IntN(20) == 0 { // bounded: the more there are, the longer a listing takes
					made++
					tok, _, err := c.CreateToken(admin, c.users[r.IntN(len(c.users))].ID, storage.TokenSpec{})
					if err == nil && r.IntN(2) == 0 {
						_, err = c.RevokeTokens(admin, tok.ID)
					}
					if err != nil && err != storage.ErrTooMany {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	gone := map[storage.ID]bool{}
	for n := range rounds(60) { // each length of a page in each order
		f := storage.TokenFilter{Order: storage.Order(n % 2), Reverse: n%4 < 2, Limit: 7 + n%30}
		seen := map[storage.ID]int{}
		for _, id := range c.paged(f) {
			if seen[id]++; gone[id] {
				t.Errorf("%+v: a dead token is listed", f)
			}
		}
		for _, id := range still {
			if seen[id] != 1 && !gone[id] {
				t.Fatalf("%+v: token %v is listed %d times", f, id, seen[id])
			}
		}
		id := moving[len(moving)-1-n%40]
		if _, err := c.RevokeTokens(admin, id); err != nil && !(gone[id] && err == storage.ErrNoToken) { // the record of a dead one may be dropped
			t.Fatal(err)
		}
		gone[id] = true
	}
	stop.Store(true)
	wg.Wait()
}
