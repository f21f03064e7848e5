package storage

import (
	"errors"

	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

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
			live, err := rd.Lives(number, id)
			if err != nil {
				return err
			}
			if !live && !q.Revoked {
				continue // a hint may be behind
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

// CountTokensOf counts a user's tokens that are not revoked.
func (s *Store) CountTokensOf(owner UserID) (n int, err error) {
	_, number, _ := s.table.Owners.Find(owner)
	err = s.view(func(rd *read.Reader) error {
		for k := range rd.OwnedKeys(read.Owned{Owner: owner}) {
			_, id := record.CutOwnedKey(k)
			live, err := rd.Lives(number, id)
			if err != nil {
				return err
			}
			if live {
				n++
			}
		}
		return nil
	})
	return n, err
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
