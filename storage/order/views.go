package order

import (
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Index is what the views need from the index. Its methods call fn once for each entry.
type Index interface {
	// Held lists the tokens of a user that are not revoked, and when each was
	// created, in ms.
	Held(user record.UserID, fn func(id keys.ID, created int64)) error
	// Token returns a token with its last use; ok is false if it has no record.
	Token(id keys.ID) (t record.Token, ok bool, err error)
	// Owned lists all tokens of the users with ids that begin with a byte.
	Owned(first byte, fn func(id keys.ID, created int64)) error
	// Tokens lists all tokens of a user with their last uses.
	Tokens(owner record.UserID, fn func(record.Token)) error
	// TokensIn lists all tokens with ids that have this first random byte, with their
	// last uses.
	TokensIn(first byte, fn func(record.Token)) error
	// Users lists all users.
	Users(fn func(record.User)) error
}

// Views are the sorted views of a table. Their methods may be called by many goroutines.
type Views struct {
	// MostRecent is how many tokens may have changed since the rows were made: each
	// query reads all of them. When there are more, new rows are made.
	MostRecent int

	table  *table.Table
	index  Index
	live   func(key byte) bool
	ends   func(key byte) int64
	tokens tokens
	people people
}

// New returns the views of a table. Tokens of keys that are not live are not found.
// ends returns when all tokens of a key end, in ms, or 0.
func New(t *table.Table, index Index, live func(key byte) bool, ends func(key byte) int64) *Views {
	return &Views{table: t, index: index, live: live, ends: ends, MostRecent: 8 << 10}
}

// lookedAt is how long the views stay in memory after the last query. Only
// administrators query them.
const lookedAt = 10 * time.Minute

func postpone(t *time.Timer, f func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(lookedAt, f)
	}
	t.Reset(lookedAt)
	return t
}

// NoteToken records that a token was created, changed or revoked. The writer calls
// it when the table has the change. created is in ms; 0: unchanged.
func (v *Views) NoteToken(id keys.ID, created int64) { v.tokens.note(id, created) }

// NoteUses records that these tokens were used. The flusher calls it before
// they leave the table's unsaved tokens.
func (v *Views) NoteUses(unsaved func() []keys.ID) { v.tokens.noteUses(unsaved) }

// NoteUser records that the user with that number was changed. The writer calls
// it.
func (v *Views) NoteUser(number uint32, u record.User) { v.people.note(number, u) }

// Forget drops the view of tokens.
func (v *Views) Forget() { v.dropTokens() }

// Places finds the tokens that a filter takes, in its order and up to its limit. All
// tokens must be in the table.
func (v *Views) Places(f TokenFilter) (list []Place, err error) {
	s, err := v.Sieve(f)
	switch {
	case err != nil:
		return nil, err
	case f.Revoked && f.Owner != 0:
		return v.recordsOf(&s)
	case f.Owner != 0 && f.Match == nil:
		return v.placesOf(&s)
	}
	err = v.search(&s, func(o *tokens, takes func(row) bool) { list = o.page(&s, takes) })
	return list, err
}

// placesOf finds the tokens of one owner. The index has the times of creation,
// and the table has the times of use.
func (v *Views) placesOf(s *Sieve) ([]Place, error) {
	to := newSelection(s.TokenFilter)
	err := v.index.Held(s.Owner, func(id keys.ID, created int64) {
		e, ok, _ := v.table.Get(id)
		if !ok || e.Owner != s.number || !s.Takes(id, e.Owner, e.Used) {
			return
		}
		at := Place{At: e.Used.Ms(), ID: id}
		if s.Order == Created {
			at.At = created
		}
		to.offer(at)
	})
	return to.sorted(), err
}

// recordsOf finds the tokens of one owner by reading their records, including those of
// tokens that are not in the table.
func (v *Views) recordsOf(s *Sieve) ([]Place, error) {
	to := newSelection(s.TokenFilter)
	var all *everybody
	if s.Match != nil {
		var err error
		if all, err = v.everybody(); err != nil {
			return nil, err
		}
	}
	err := v.index.Tokens(s.Owner, func(t record.Token) {
		used := record.CreatedAt(t.LastUsed)
		if t.LastUsed != t.Created {
			used = record.UsedAt(t.LastUsed)
		}
		if !s.Takes(t.ID, s.number, used) || s.Match != nil && !v.matches(s.Match, t, s.number, all) {
			return
		}
		at := Place{At: t.LastUsed, ID: t.ID}
		if s.Order == Created {
			at.At = t.Created
		}
		to.offer(at)
	})
	return to.sorted(), err
}

// Count counts the tokens that a filter takes. It ignores After and Limit. All
// tokens must be in the table.
func (v *Views) Count(f TokenFilter) (n int, err error) {
	f.After, f.Limit, f.Order = Place{}, 0, LastUsed // the count is the same in each order
	if f == (TokenFilter{}) {
		return v.table.Len(), nil
	}
	if f.Owner != 0 && (f.Match == nil || f.Revoked) {
		list, err := v.Places(f)
		return len(list), err
	}
	s, err := v.Sieve(f)
	if err != nil {
		return 0, err
	}
	err = v.search(&s, func(o *tokens, takes func(row) bool) { n = o.count(&s, takes) })
	return n, err
}

// Users finds the users that a filter takes, in its order, with a summary of their
// tokens. All tokens must be in the table.
func (v *Views) Users(f UserFilter) (list []Standing, err error) {
	err2 := v.withTokens(false, false, false, func(o *tokens) {
		o.stale(f.StaleSince)
		if err = v.findLost(o); err == nil {
			list, err = v.usersHolding(f, o.held)
		}
	})
	if err2 != nil {
		return nil, err2
	}
	return list, err
}

// findLost finds the latest use again for owners with a dead token as their
// latest used one.
func (v *Views) findLost(o *tokens) error {
	for number := range o.lost {
		h, err := v.holding(v.table.Owners.At(number).ID, 0)
		if err != nil {
			return err
		}
		o.held[number].Used = h.Used
		delete(o.lost, number)
	}
	return nil
}

// holding counts a user's tokens that are not revoked.
func (v *Views) holding(id record.UserID, staleSince int64) (h Holding, err error) {
	err = v.index.Held(id, func(id keys.ID, _ int64) {
		if e, ok, _ := v.table.Get(id); ok {
			h.Count(1, e.Used, staleSince)
		}
	})
	return h, err
}
