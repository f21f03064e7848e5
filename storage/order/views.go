package order

import (
	"runtime"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Index is what the views need from the index. Its methods call fn once for each entry.
type Index interface {
	// Held lists the tokens of a user that are not revoked, and when each was
	// created, in ms, until fn returns false.
	Held(user record.UserID, fn func(id keys.ID, created int64) bool) error
	// Token returns a token with its uses; ok is false if it has no record.
	Token(id keys.ID) (t record.Token, ok bool, err error)
	// Tokens lists all tokens of a user with their uses.
	Tokens(owner record.UserID, fn func(record.Token)) error
	// TokensIn lists all tokens with ids that have this first random byte, without their
	// uses. Unless texts is set, they have only what is of fixed length. They are valid
	// during the call.
	TokensIn(first byte, texts bool, fn func(*record.Token)) error
	// SeenIn lists the addresses where these tokens were seen, valid during the call. It
	// may leave out tokens that were not used, or whose uses are only in the table.
	SeenIn(first byte, fn func(keys.ID, []record.Seen)) error
	// KeysIn lists the tokens with these ids that have a record, and perhaps some that
	// have none any more.
	KeysIn(first byte, fn func(keys.ID)) error
	// Users lists all users.
	Users(fn func(record.User)) error
}

// Views are the listings of a table. Their methods may be called by many goroutines.
type Views struct {
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
	return &Views{table: t, index: index, live: live, ends: ends}
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

// NoteToken records that a token was created, changed or revoked. The writer calls it when
// the table has the change.
func (v *Views) NoteToken(id keys.ID) { v.tokens.note(id) }

// NoteUses records that these tokens were used. The flusher calls it before
// they leave the table's unsaved tokens.
func (v *Views) NoteUses(unsaved func() []keys.ID) { v.tokens.noteUses(unsaved) }

// NoteUser records that the user with that number was changed. The writer calls
// it.
func (v *Views) NoteUser(number uint32, u record.User) { v.people.note(number, u) }

// Forget drops what was read.
func (v *Views) Forget() {
	v.dropTokens()
	v.dropPeople()
}

// Places finds the tokens that a filter takes, in its order and up to its limit. All
// tokens must be in the table.
func (v *Views) Places(f TokenFilter) ([]Place, error) {
	s, err := v.Sieve(f)
	if err != nil {
		return nil, err
	}
	to := newSelection(f)
	err = v.search(&s, to)
	return to.sorted(), err
}

// Count counts the tokens that a filter takes. It ignores After and Limit. All
// tokens must be in the table.
func (v *Views) Count(f TokenFilter) (n int, err error) {
	f.After, f.Limit, f.Order = Place{}, 0, LastUsed // the count is the same in each order
	if f == (TokenFilter{}) {
		return v.table.Len(), nil
	}
	s, err := v.Sieve(f)
	if err != nil {
		return 0, err
	}
	to := &selection{count: true}
	err = v.search(&s, to)
	return to.n, err
}

// Users finds the users that a filter takes, in its order, with a summary of their
// tokens. All tokens must be in the table.
func (v *Views) Users(f UserFilter) ([]Standing, error) {
	held := make([]Holding, v.table.Owners.Len())
	var list []table.Entry
	any := table.Any()
	for shard := range table.Shards {
		list = v.table.AppendIn(list[:0], byte(shard), &any)
		for i := range list {
			if e := &list[i]; int(e.Owner) < len(held) { // otherwise the owner is new
				held[e.Owner].Count(1, e.Used, f.StaleSince)
			}
		}
		runtime.Gosched()
	}
	return v.usersHolding(f, held)
}
