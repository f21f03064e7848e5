package storage

import (
	"encoding/hex"
	"errors"
	"iter"
	"strings"
	"time"

	"gatehouse/storage/census"
	"gatehouse/storage/keys"
	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

// The types that select and sort listings.
type (
	TokenFilter = order.TokenFilter
	UserFilter  = order.UserFilter
	Order       = order.By
	Place       = order.Place
	UserPlace   = order.UserPlace

	Match  = order.Match
	Span   = order.Span
	Person = order.Person
)

// Never is the end of a token that has none.
const Never = order.Never

// The orders. Users are also sorted by ByName, which is their uid, and by ByTokens.
const (
	ByLastUsed = order.LastUsed
	ByCreated  = order.Created
	ByName     = order.Name
	ByTokens   = order.Tokens
)

// Tokens lists tokens, the oldest last use first unless the filter says
// otherwise.
//
// It first notes the order, in 24 bytes a token, and then reads the tokens as
// the caller consumes them. A page shows the tokens as they were when their
// order was noted. In a listing without a limit, a token that is used during
// the listing keeps its place and shows its new last use.
func (s *Store) Tokens(f TokenFilter) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		for {
			places, err := s.places(f)
			if err != nil {
				yield(Token{}, err)
				return
			}
			n, err := s.show(f, places, yield)
			if err != nil {
				yield(Token{}, err)
			}
			if err != nil || n < 0 || n == len(places) || f.Limit == 0 || len(places) < f.Limit {
				return
			}
			// Some were revoked since: fill the page with the tokens that
			// follow.
			f.After = places[len(places)-1]
			f.Limit -= n
		}
	}
}

// show yields the tokens at the places, except those that the filter no longer
// takes. It returns how many it yielded, or -1 when the caller has stopped.
func (s *Store) show(f TokenFilter, places []Place, yield func(Token, error) bool) (n int, err error) {
	err = s.view(func(rd *read.Reader) error {
		for _, at := range places {
			t, err := rd.Token(at.ID)
			if errors.Is(err, ErrNoToken) {
				continue // its record was dropped since
			}
			if err != nil {
				return err
			}
			if !f.Revoked && t.Dead() {
				continue
			}
			if f.Limit > 0 && f.Order == ByLastUsed {
				t.LastUsed = at.At // otherwise the next page would not begin where this one ends
			}
			if !yield(t, nil) {
				n = -1
				return nil
			}
			n++
		}
		return nil
	})
	return n, err
}

// places finds the tokens that the filter takes, in their order.
func (s *Store) places(f TokenFilter) ([]Place, error) {
	if err := s.opening.AwaitTable(); err != nil {
		return nil, err
	}
	return s.views.Places(f)
}

// People returns the users who are not removed, as filters see them, in no order.
func (s *Store) People() ([]*Person, error) {
	if err := s.opening.AwaitTable(); err != nil {
		return nil, err
	}
	return s.views.People()
}

// CountTokens counts the tokens that the filter takes. It ignores After and
// Limit.
func (s *Store) CountTokens(f TokenFilter) (int, error) {
	if err := s.opening.AwaitTable(); err != nil {
		return 0, err
	}
	return s.views.Count(f)
}

// FindToken returns the id of the only token with an id that begins with the
// prefix, of 8 characters or more. It returns ErrNoToken, ErrAmbiguous, or an
// *InvalidError.
func (s *Store) FindToken(prefix string) (found ID, err error) {
	prefix = strings.ToLower(prefix)
	if len(prefix) <= 2*keys.IDSize && strings.Trim(prefix, "0123456789abcdef") != "" {
		return ID{}, ErrNoToken // no id begins with this
	}
	if len(prefix) < 8 || len(prefix) > 2*keys.IDSize {
		return ID{}, record.Invalidf("a token is named by its id, 28 hexadecimal characters, or by the first 8 or more of them")
	}
	whole, err := hex.DecodeString(prefix[:len(prefix)&^1])
	if err != nil {
		return ID{}, err
	}
	n := 0
	err = s.view(func(rd *read.Reader) error {
		for k := range rd.Scan(record.Key('t', whole)) {
			if id := ID(k[1:]); strings.HasPrefix(id.String(), prefix) {
				found = id
				n++
			}
			if n > 1 {
				return ErrAmbiguous
			}
		}
		if n == 0 {
			return ErrNoToken
		}
		return nil
	})
	return found, err
}

// TokenCount counts the tokens that are not revoked.
func (s *Store) TokenCount() int { return s.table.Len() }

// Census counts all tokens by their states, and those that end within each of the spans.
// It reads all records of tokens, which takes seconds when there are millions.
func (s *Store) Census(within ...time.Duration) (*census.Census, error) {
	if err := s.opening.Await(); err != nil {
		return nil, err
	}
	v, end, err := s.index.Begin() // not s.view, which makes the flusher of uses wait
	if err != nil {
		return nil, err
	}
	defer end()
	c := census.New(s.clock.Now(), within)
	return c, v.Each([]byte{'t'}, func(k, v []byte) error {
		t, err := record.ParseTokenHead(ID(k[1:]), v)
		if err == nil {
			err = s.stillOpen()
		}
		if err == nil {
			t.Expires = record.Earlier(t.Expires, s.keys.Ends(t.ID[0]))
			owner, _, ok := s.table.Owners.Find(t.Owner)
			if !ok {
				owner.State = UserRemoved
			}
			c.Count(t, owner.State)
		}
		return err
	})
}

// MatchTokens returns the ids of all the tokens that the filter takes.
func (s *Store) MatchTokens(f TokenFilter) ([]ID, error) {
	places, err := s.places(f)
	ids := make([]ID, len(places))
	for i, at := range places {
		ids[i] = at.ID
	}
	return ids, err
}

// Owned selects a page of one user's tokens. A user may hold any number of
// tokens, so nothing reads all of them at once.
type Owned struct {
	Owner   UserID
	Revoked bool   // include the revoked ones, after the others
	Newest  bool   // the newest first; otherwise the oldest first
	After   Cursor // only tokens after it
	Skip    int    // leave out this many
	Limit   int    // of the page; at least 1
}

// Cursor is a place among the tokens of a user, for Owned.After. The zero value
// is before the first.
type Cursor struct{ key string }

// Page reads a page of a user's tokens. It also returns the cursor of the next
// page, which is zero after the last page.
//
// Each page shows the tokens as they are when Page reads it. A token created or
// revoked between two pages does not move the others: each of them is on exactly
// one page.
func (s *Store) Page(q Owned) (list []Token, next Cursor, err error) {
	_, number, _ := s.table.Owners.Find(q.Owner)
	err = s.view(func(rd *read.Reader) error {
		var last []byte
		for k := range rd.OwnedKeys(read.Owned{Owner: q.Owner, Revoked: q.Revoked, Newest: q.Newest, After: q.After.key}) {
			if len(list) == q.Limit {
				next.key = string(last)
				return nil
			}
			_, id := record.CutOwnedKey(k)
			if !rd.Steady() && !q.Revoked { // some keys may be deleted already
				live, err := rd.Lives(number, id)
				if err != nil {
					return err
				}
				if !live {
					continue
				}
			}
			if q.Skip > 0 {
				q.Skip--
				continue
			}
			t, err := rd.Token(id)
			if errors.Is(err, ErrNoToken) {
				continue
			}
			if err != nil {
				return err
			}
			if t.Owner == q.Owner {
				list, last = append(list, t), append(last[:0], k...)
			}
		}
		return nil
	})
	return list, next, err
}

// CountTokensOf counts a user's tokens that are not revoked and, of these, the ones last
// used at staleSince, in ms, or before. A token that was never used counts as used when it
// was created.
func (s *Store) CountTokensOf(owner UserID, staleSince int64) (n, stale int, err error) {
	h, err := look(s, func(rd *read.Reader) (order.Holding, error) { return s.holding(rd, owner, staleSince) })
	return h.Tokens, h.Stale, err
}

// UsageOf adds up the uses of a user's tokens in the last 30 days, including revoked
// tokens.
func (s *Store) UsageOf(owner UserID) (u Usage, err error) {
	since := record.UsedAt((int64(record.DayOf(s.clock.Now())) - record.KeepDays + 1) * record.MsOfDay)
	err = s.view(func(rd *read.Reader) error {
		for k := range rd.OwnedKeys(read.Owned{Owner: owner, Revoked: true}) {
			_, id := record.CutOwnedKey(k)
			e, ok, err := s.lookup(id)
			if err != nil {
				return err
			}
			if ok && e.Used < since {
				continue // most tokens were not used since: skip reading their usage
			}
			r, err := rd.Usage(id)
			if err != nil {
				return err
			}
			s.table.Usage(id, &r)
			u.Add(&r.Usage)
		}
		return nil
	})
	return u, err
}
