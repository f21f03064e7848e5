package storage_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// pagesOf reads a user's tokens in pages of a few.
func pagesOf(s *storage.Store, q storage.Owned) (list []storage.Token, err error) {
	for {
		page, next, err := s.Page(q)
		if list = append(list, page...); err != nil || next == (storage.Cursor{}) {
			return list, err
		}
		if len(page) != q.Limit {
			return list, errors.New("a page that is not the last is not full")
		}
		q.After, q.Skip = next, 0
	}
}

// tokensOf lists a user's tokens that are not revoked, the oldest first, and
// allTokensOf the revoked ones after them.
func tokensOf(s *storage.Store, owner storage.UserID) ([]storage.Token, error) {
	return pagesOf(s, storage.Owned{Owner: owner, Limit: 3})
}

func allTokensOf(s *storage.Store, owner storage.UserID) ([]storage.Token, error) {
	return pagesOf(s, storage.Owned{Owner: owner, Revoked: true, Limit: 3})
}

func idsOf(list []storage.Token) (ids []storage.ID) {
	for _, t := range list {
		ids = append(ids, t.ID)
	}
	return ids
}

// TestOwnPages compares pages of every size with the tokens as they were created. Some
// were created in the same millisecond, some are revoked, and another user's tokens lie
// around them.
func TestOwnPages(t *testing.T) {
	c := newClock()
	s := openWith(t, t.TempDir(), timed(t, c))
	alice, bob := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com")
	var live, revoked []storage.ID
	for n := range 60 {
		if n%4 == 0 {
			c.Move(time.Millisecond)
		}
		create(t, s, bob)
		id, _ := create(t, s, alice)
		if n%3 > 0 {
			live = append(live, id)
			continue
		}
		revoked = append(revoked, id)
		must.Get(s.RevokeTokens(admin, id))(t)
	}
	newest := slices.Clone(live)
	slices.Reverse(newest)
	for limit := 1; limit <= 61; limit++ {
		for _, skip := range []int{0, 1, 39, 40, 41} {
			for what, c := range map[string]struct {
				q    storage.Owned
				want []storage.ID
			}{
				"oldest first":     {storage.Owned{}, live},
				"newest first":     {storage.Owned{Newest: true}, newest},
				"with the revoked": {storage.Owned{Revoked: true}, slices.Concat(live, revoked)},
			} {
				c.q.Owner, c.q.Limit, c.q.Skip = alice.ID, limit, skip
				got, err := pagesOf(s, c.q)
				if want := c.want[min(skip, len(c.want)):]; err != nil || !slices.Equal(idsOf(got), want) {
					t.Fatalf("%s in pages of %d, without %d: got %d tokens, %v, want %d", what, limit, skip, len(got), err, len(want))
				}
			}
		}
	}
	if n, _, err := s.CountTokensOf(alice.ID, 0); n != len(live) || err != nil {
		t.Errorf("got %d tokens, %v, want %d", n, err, len(live))
	}
	if list, next, err := s.Page(storage.Owned{Owner: 1, Limit: 1}); len(list) != 0 || next != (storage.Cursor{}) || err != nil {
		t.Errorf("of nobody: got %v, %v, %v", list, next, err)
	}
}

// TestOwnPagesWhileTokensChange makes and revokes tokens between the pages. A token that
// is live all the time is listed, and each token is listed at most once and in the order
// of creation.
func TestOwnPagesWhileTokensChange(t *testing.T) {
	c := newClock()
	s := openWith(t, t.TempDir(), timed(t, c))
	u := addUser(t, s, "alice@example.com")
	r := rand.New(rand.NewPCG(1, 2))
	var made, live []storage.ID // in order
	dead := map[storage.ID]bool{}
	revoke := func(id storage.ID) {
		must.Get(s.RevokeTokens(admin, id))(t)
		dead[id] = true
		live = slices.DeleteFunc(live, func(v storage.ID) bool { return v == id })
	}
	change := func() {
		if r.IntN(2) == 0 {
			c.Move(time.Millisecond)
		}
		if len(live) < 8 || len(live) < 16 && r.IntN(2) == 0 {
			id, _ := create(t, s, u)
			made, live = append(made, id), append(live, id)
			return
		}
		revoke(live[r.IntN(len(live))])
	}
	for range 40 {
		for range 3 {
			change()
		}
		before := slices.Clone(live)
		var got []storage.ID
		for q := (storage.Owned{Owner: u.ID, Limit: 1 + r.IntN(5)}); ; {
			page, next := must.Get2(s.Page(q))(t)
			got = append(got, idsOf(page)...)
			if next == (storage.Cursor{}) {
				break
			}
			if len(page) > 0 && r.IntN(3) == 0 { // the very token to which the cursor points
				revoke(page[len(page)-1].ID)
			}
			change()
			q.After = next
		}
		last := -1
		for _, id := range got {
			n := slices.Index(made, id)
			if n <= last {
				t.Fatalf("token %d of those made is listed after token %d", n, last)
			}
			last = n
		}
		for _, id := range before {
			if !dead[id] && !slices.Contains(got, id) {
				t.Fatalf("token %s is not listed", id)
			}
		}
	}
}

// TestUsageOf adds up what each token's record says.
func TestUsageOf(t *testing.T) {
	c := newClock()
	s := openWith(t, t.TempDir(), timed(t, c))
	u := addUser(t, s, "alice@example.com")
	var want storage.Usage
	for n := range 5 {
		id, secret := create(t, s, u)
		for range n {
			c.Move(10 * 24 * time.Hour) // at the end the first uses are older than 30 days
			wantLive(t, s, secret)
		}
		if n == 2 {
			must.Do(t, s.Flush(t.Context()))
		}
		if n == 3 {
			must.Get(s.RevokeTokens(admin, id))(t)
		}
	}
	create(t, s, u)
	list := must.Get(allTokensOf(s, u.ID))(t)
	for _, v := range list {
		want.Add(&v.Usage)
	}
	got, err := s.UsageOf(u.ID)
	if err != nil || !slices.Equal(got.Days(c.Milli()), want.Days(c.Milli())) {
		t.Errorf("got %v, %v, want %v", got.Days(c.Milli()), err, want.Days(c.Milli()))
	}
	if slices.Max(want.Days(c.Milli())) == 0 {
		t.Error("no use is of the last 30 days")
	}
}
