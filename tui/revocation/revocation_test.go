package revocation_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/revocation"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// store has tokens, and records what is asked of it.
type store struct {
	tokens  []api.Token
	revoked [][]string
	bulk    []api.BulkRevocation
	queries []api.TokenQuery
	read    int // rows of them
	late    int // at which bulk revocation others have come
	lost    int // in which the connection is lost
	err     error
}

// of returns the tokens of a query, the latest used first. It only knows the filter user.
func (s *store) of(f api.Filters) (out []api.Token) {
	for _, t := range s.tokens {
		if uid := f["user"]; (uid == nil || uid[0] == t.UID) && t.State != api.StateRevoked {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(x, y api.Token) int { return cmp.Compare(y.LastUsed, x.LastUsed) })
	return out
}

func (s *store) Tokens(_ context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	s.queries = append(s.queries, q)
	return func(yield func(api.Token, error) bool) {
		for _, t := range s.of(q.Filters) {
			if s.read++; !yield(t, s.err) {
				return
			}
		}
	}
}

func (s *store) Token(_ context.Context, id string) (api.TokenDetail, error) {
	for _, t := range s.tokens {
		if t.ID == id {
			return api.TokenDetail{Token: t}, s.err
		}
	}
	return api.TokenDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such token"}
}

func (s *store) Matching(_ context.Context, q api.TokenQuery) (api.Matching, error) {
	n := len(s.of(q.Filters))
	return api.Matching{Rows: n, Set: fmt.Sprint("the-set-of-", n), At: noon.UnixMilli()}, s.err
}

func (s *store) Revoke(_ context.Context, r api.Revocation) (api.Revoked, error) {
	s.revoked = append(s.revoked, r.IDs)
	return api.Revoked{Revoked: len(r.IDs)}, s.err
}

func (s *store) RevokeMatching(_ context.Context, r api.BulkRevocation) iter.Seq2[api.Progress, error] {
	s.bulk = append(s.bulk, r)
	return func(yield func(api.Progress, error) bool) {
		all := s.of(r.Filters)
		if len(s.bulk) == s.late || r.Set != fmt.Sprint("the-set-of-", len(all)) {
			yield(api.Progress{}, &api.Error{Status: http.StatusConflict, Message: "Nothing was revoked"})
			return
		}
		p := api.Progress{Job: fmt.Sprint("job", len(s.bulk)), Total: len(all)}
		if yield(p, nil) && len(s.bulk) != s.lost {
			p.Revoked, p.Done = len(all), true
			yield(p, nil)
		}
	}
}

// holding returns a store with n tokens of two users, the last of which is revoked.
func holding(n int) *store {
	s := &store{}
	for i := range n {
		s.tokens = append(s.tokens, api.Token{
			ID: fmt.Sprintf("%028d", i), UID: fmt.Sprintf("user%d@example.com", i%2), State: api.StateLive, Created: 1,
			LastUsed: noon.Add(-time.Duration(i+2) * time.Hour).UnixMilli(),
		})
	}
	s.tokens[n-1].State = api.StateRevoked
	return s
}

func lookUp(t *testing.T, s *store, r revocation.Target) revocation.Doomed {
	t.Helper()
	d := must.Get(revocation.LookUp(t.Context(), s, r))(t)
	d.Arrange(noon)
	return d
}

// TestLookUp: what is revoked or gone already is not asked about.
func TestLookUp(t *testing.T) {
	s := holding(6)
	for _, c := range []struct {
		target   revocation.Target
		want     int
		question string
	}{
		{revocation.Of(s.tokens), 5, "Revoke 5 tokens for good?"},
		{revocation.Target{IDs: []string{"gone", s.tokens[0].ID}}, 1, "Revoke 1 token for good?"},
		{revocation.Target{IDs: []string{s.tokens[5].ID}}, 0, "Nothing to revoke"},
		{revocation.Target{UIDs: []string{"user1@example.com"}}, 2, "Revoke all 2 tokens of user1@example.com for good?"},
		{revocation.Target{UIDs: []string{"user0@example.com", "user1@example.com"}}, 5, "Revoke all 5 tokens of 2 users for good?"},
	} {
		d := lookUp(t, s, c.target)
		if d.Total != c.want || d.Question(true) != c.question {
			t.Errorf("%+v: got %d, %q, want %d, %q", c.target, d.Total, d.Question(true), c.want, c.question)
		}
		if d.Total > 1 && d.Tokens[0].LastUsed < d.Tokens[1].LastUsed {
			t.Errorf("%+v: the latest used is not the first", c.target)
		}
	}
	s.err = &api.Error{Status: http.StatusServiceUnavailable, Message: "busy"}
	for _, r := range []revocation.Target{revocation.Of(s.tokens), {UIDs: []string{"user0@example.com"}}, {Match: &revocation.Match{}}} {
		if _, err := revocation.LookUp(t.Context(), s, r); err == nil {
			t.Errorf("%+v: an error is hidden", r)
		}
	}
}

// TestMustType: a y is enough for up to 20 tokens of which none is in use, and never for a
// match.
func TestMustType(t *testing.T) {
	for n, want := range map[int]bool{2: false, 21: false, 22: true} { // one is revoked
		s := holding(n)
		if d := lookUp(t, s, revocation.Of(s.tokens)); d.MustType() != want {
			t.Errorf("%d tokens: got %v, want %v", d.Total, d.MustType(), want)
		}
	}
	s := holding(3)
	s.tokens[1].LastUsed = noon.Add(-time.Minute).UnixMilli()
	d := lookUp(t, s, revocation.Of(s.tokens))
	if !d.MustType() || d.InUse != 1 {
		t.Errorf("in use: got %v, %d", d.MustType(), d.InUse)
	}
	plain := func(p ...string) string { return strings.Join(p, "") }
	if lines := d.Lines(noon, 100, 10, plain, plain); len(lines) != 3 || !strings.Contains(lines[1], "IN USE") {
		t.Errorf("got %q", lines)
	}
	if d := lookUp(t, holding(2), revocation.Target{Match: &revocation.Match{Words: "that match x"}}); !d.MustType() {
		t.Error("a y revokes all that match")
	}
	d = lookUp(t, holding(30), revocation.Of(holding(30).tokens))
	if lines := d.Lines(noon, 100, 8, plain, plain); len(lines) != 8 || !strings.Contains(lines[7], "… and 23 more") {
		t.Errorf("got %q", lines)
	}
}

// TestRevoke: marked tokens go in batches, and a match as the one set that was
// agreed to.
func TestRevoke(t *testing.T) {
	s := holding(251)
	var last api.Progress
	for p := range must.All(lookUp(t, s, revocation.Of(s.tokens)).Revoke(t.Context(), s))(t) {
		last = p
	}
	for _, ids := range s.revoked {
		if len(ids) > api.MostRevoked {
			t.Errorf("%d tokens in one call", len(ids))
		}
	}
	if len(s.revoked) != 4 || last.Revoked != 250 || !last.Done || slices.Contains(slices.Concat(s.revoked...), s.tokens[250].ID) {
		t.Errorf("%d batches, %+v", len(s.revoked), last)
	}
	s = holding(251)
	for range lookUp(t, s, revocation.Of(s.tokens)).Revoke(t.Context(), s) {
		break // the reader stops
	}
	if len(s.revoked) != 1 {
		t.Errorf("%d batches after a stop", len(s.revoked))
	}
	s = holding(5)
	m := &revocation.Match{Query: api.TokenQuery{Words: "idle:90d"}}
	for range lookUp(t, s, revocation.Target{Match: m}).Revoke(t.Context(), s) {
	}
	if len(s.bulk) != 1 || s.bulk[0].Set != "the-set-of-4" || s.bulk[0].At != noon.UnixMilli() || s.bulk[0].Words != "idle:90d" || len(s.revoked) > 0 {
		t.Errorf("got %+v", s.bulk)
	}
	if q := s.queries[0]; q.At != noon.UnixMilli() || !q.Reverse {
		t.Errorf("what is shown is of another moment: %+v", q)
	}
}

// TestInUse: all tokens of a set that are in use are counted, however many match, and they
// are shown first. Those that were never used come last.
func TestInUse(t *testing.T) {
	for _, r := range []revocation.Target{
		{Match: &revocation.Match{Query: api.TokenQuery{Words: "idle:0d"}}},
		{UIDs: []string{"user0@example.com", "user1@example.com"}},
	} {
		s := holding(1000)
		for n := range s.tokens {
			switch t := &s.tokens[n]; {
			case n >= 400 && n < 550:
				t.LastUsed = noon.Add(-time.Duration(n) * time.Second).UnixMilli()
			case n < 10: // made just now
				t.LastUsed = noon.UnixMilli() - int64(n)
				t.Created = t.LastUsed
			}
		}
		d := lookUp(t, s, r)
		if d.Total != 999 || d.InUse != 150 {
			t.Errorf("got %d, %d in use", d.Total, d.InUse)
		}
		for n, tk := range d.Tokens {
			if inUse := tk.Used() && noon.UnixMilli()-tk.LastUsed < time.Hour.Milliseconds(); inUse != (n < 100) {
				t.Fatalf("%d: in use: %v", n, inUse)
			}
		}
		if d.Tokens[len(d.Tokens)-1].Used() || len(d.Tokens) != 200 {
			t.Errorf("%d tokens, the last one was used", len(d.Tokens))
		}
		if s.read > 500 {
			t.Errorf("it read %d rows", s.read)
		}
	}
}

// TestManyInUse: if very many are in use, they are not all read.
func TestManyInUse(t *testing.T) {
	for _, r := range []revocation.Target{
		{Match: &revocation.Match{Query: api.TokenQuery{Words: "idle:0d"}}},
		{UIDs: []string{"user0@example.com", "user1@example.com"}},
	} {
		s := holding(5000)
		for n := range s.tokens {
			s.tokens[n].LastUsed = noon.UnixMilli() - int64(n)
		}
		d := lookUp(t, s, r)
		if d.Total != 4999 || d.Used() != "More than 1,000" || len(d.Tokens) != 100 || s.read > 1100 || !d.MustType() {
			t.Errorf("got %d, %s in use, %d shown, %d read", d.Total, d.Used(), len(d.Tokens), s.read)
		}
	}
}

// TestRevokeUsers: of marked users, what was agreed to is revoked, or nothing. What came
// between two of them, or cut the work short, is told.
func TestRevokeUsers(t *testing.T) {
	r := revocation.Target{UIDs: []string{"nobody@example.com", "user0@example.com", "user1@example.com"}}
	run := func(s *store, change func()) (p api.Progress, err error) {
		d := lookUp(t, s, r)
		change()
		for p, err = range d.Revoke(t.Context(), s) {
		}
		return p, err
	}
	s := holding(8)
	p, err := run(s, func() {})
	if err != nil || p.Revoked != 7 || p.Total != 7 || !p.Done || len(s.bulk) != 2 {
		t.Errorf("%+v, %v, %d jobs", p, err, len(s.bulk))
	}
	for _, uid := range r.UIDs {
		s = holding(8)
		p, err = run(s, func() { s.tokens = append(s.tokens, api.Token{ID: "new", UID: uid, State: api.StateLive}) })
		if !api.Refused(err, http.StatusConflict) || p.Revoked != 0 || len(s.bulk) > 0 || !strings.Contains(err.Error(), "are now 8") {
			t.Errorf("a new token of %s: %+v, %v, %d jobs", uid, p, err, len(s.bulk))
		}
	}
	s = holding(8)
	p, err = run(s, func() { s.late = 2 })
	if !api.Refused(err, http.StatusConflict) || !strings.Contains(err.Error(), "Revoked 4 tokens") {
		t.Errorf("between two users: %+v, %v", p, err)
	}
	s = holding(8)
	p, err = run(s, func() { s.lost = 1 })
	if err != nil || p.Done || len(s.bulk) != 1 {
		t.Errorf("after a lost connection: %+v, %v, %d jobs", p, err, len(s.bulk))
	}
}
