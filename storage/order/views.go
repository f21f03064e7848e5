package order

import (
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Index is what the views ask of the index. Its methods call fn until they are through.
type Index interface {
	// Held is told of the tokens of a user that are not revoked: which there are,
	// and when each was created, in ms.
	Held(user record.UserID, fn func(id keys.ID, created int64)) error
	// Owned is told of all tokens of the users whose ids begin with a byte.
	Owned(first byte, fn func(id keys.ID, created int64)) error
	// Users is told when each user was created, in ms.
	Users(fn func(id record.UserID, created int64)) error
}

// Views are the sorted views of a table. Their methods may be called by many goroutines.
type Views struct {
	// MostRecent is how many tokens may have changed since the rows were made: each look
	// reads all of them. When there are more, new rows are made.
	MostRecent int

	table  *table.Table
	index  Index
	live   func(key byte) bool
	tokens tokens
	people people
}

// New returns the views of a table. Tokens of keys that are not live are not looked for.
func New(t *table.Table, index Index, live func(key byte) bool) *Views {
	return &Views{table: t, index: index, live: live, MostRecent: 8 << 10}
}

// lookedAt is how long what only administrators ask for stays in memory after
// they last did.
const lookedAt = 10 * time.Minute

func postpone(t *time.Timer, f func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(lookedAt, f)
	}
	t.Reset(lookedAt)
	return t
}

// NoteToken is the writer's: a token was made, changed or revoked, and the table has
// it. Created is when it was made, in ms; 0: as before.
func (v *Views) NoteToken(id keys.ID, created int64) { v.tokens.note(id, created) }

// NoteUses is the flusher's: these tokens were used, and will soon not be among
// the table's unsaved any more.
func (v *Views) NoteUses(unsaved func() []keys.ID) { v.tokens.noteUses(unsaved) }

// NoteUser is the writer's: the user of that number was changed.
func (v *Views) NoteUser(number uint32, u record.User) { v.people.note(number, u) }

// Forget lets the view of tokens go.
func (v *Views) Forget() { v.dropTokens() }

// Page finds the places of the tokens that a filter takes, in its order and up to its
// limit. All tokens must be in the table, and the filter must name no owner.
func (v *Views) Page(f *Sieve) (list []Place, err error) {
	err2 := v.withTokens(f.Order == Created, func(o *tokens) {
		if err = v.narrow(f, o); err == nil {
			list = o.page(f)
		}
	})
	if err2 != nil {
		return nil, err2
	}
	return list, err
}

// Count counts what a filter takes, its After and Limit apart.
func (v *Views) Count(f *Sieve) (n int, err error) {
	s := *f
	s.Order = LastUsed // there are as many in each order
	err2 := v.withTokens(false, func(o *tokens) {
		if err = v.narrow(&s, o); err == nil {
			n = o.count(&s)
		}
	})
	if err2 != nil {
		return 0, err2
	}
	return n, err
}

// Users finds the users that a filter takes, in its order, with what they hold. All
// tokens must be in the table.
func (v *Views) Users(f UserFilter) (list []Standing, err error) {
	err2 := v.withTokens(false, func(o *tokens) {
		o.stale(f.StaleSince)
		if err = v.findLost(o); err == nil {
			list, err = v.UsersHolding(f, o.held)
		}
	})
	if err2 != nil {
		return nil, err2
	}
	return list, err
}

// findLost looks at the tokens of those owners of whom the one used last is
// dead.
func (v *Views) findLost(o *tokens) error {
	for number := range o.lost {
		h, err := v.Holding(v.table.Owners.At(number).ID, 0)
		if err != nil {
			return err
		}
		o.held[number].Used = h.Used
		delete(o.lost, number)
	}
	return nil
}

// Holding counts a user's tokens that are not revoked. All tokens must be in the table.
func (v *Views) Holding(id record.UserID, staleSince int64) (h Holding, err error) {
	err = v.index.Held(id, func(id keys.ID, _ int64) {
		if e, ok, _ := v.table.Get(id); ok {
			h.Count(1, e.Used, staleSince)
		}
	})
	return h, err
}
