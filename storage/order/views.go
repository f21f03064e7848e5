package order

import (
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
	// Tokens lists all tokens of a user with their uses, until fn returns false.
	Tokens(owner record.UserID, fn func(record.Token) bool) error
	// TokensIn lists all tokens with ids that have this first random byte, without their
	// uses. They are valid during the call.
	TokensIn(first byte, fn func(*record.Token)) error
	// SeenIn lists the addresses where these tokens were seen, valid during the call. It
	// may leave out tokens that were not used, or whose uses are only in the table.
	SeenIn(first byte, fn func(keys.ID, []record.Seen)) error
	// KeysIn lists the tokens with these ids that have a record, and perhaps some that
	// have none any more.
	KeysIn(first byte, fn func(keys.ID)) error
	// UsersIn lists the users with ids that have this first byte.
	UsersIn(first byte, fn func(record.User)) error
}

// Views are the listings of a table. Their methods may be called by many goroutines.
type Views struct {
	table   *table.Table
	index   Index
	live    func(key byte) bool
	ends    func(key byte) int64
	closing <-chan struct{}
	wake    chan struct{} // there are many notes
	tokens  tokens
	people  known[people, changed]
}

// New returns the views of a table. Tokens of keys that are not live are not found.
// ends returns when all tokens of a key end, in ms, or 0. Once closing is closed, queries
// that read the index end with [disk.ErrClosed].
func New(t *table.Table, index Index, live func(key byte) bool, ends func(key byte) int64, closing <-chan struct{}) *Views {
	v := &Views{table: t, index: index, live: live, ends: ends, closing: closing, wake: make(chan struct{}, 1)}
	v.tokens.notes.wake, v.people.notes.wake = v.wake, v.wake
	return v
}

// Run keeps what was read up to date, so that a query has little to read, until the store
// closes. If all is set, it reads all at once, slowly, and then calls ready. If that fails,
// the next query tries again. All tokens must be in the table.
func (v *Views) Run(all bool, ready func()) {
	for {
		known := all && v.people.get(v.closing, atLeisure, v.readPeople) == nil
		if all {
			known = v.tokens.get(v.closing, atLeisure, v.readTokens) == nil && known
		}
		if known && ready != nil {
			ready()
			ready = nil
		}
		select {
		case <-v.wake:
		case <-v.closing:
			return
		}
		if !known { // nobody may ever ask, or it can't be read
			v.people.giveUp()
			v.tokens.giveUp()
		}
		v.followPeople()
		v.followTokens(nil, false, v.closing)
		v.tokens.dropIf(func(f *facts) bool { return f.wasteful(v.table.Len()) })
	}
}

// NoteToken records that a token was created, changed or revoked. It is called when the table
// has the change.
func (v *Views) NoteToken(id keys.ID) { v.tokens.notes.add(table.Sight{ID: id}) }

// NoteUses records where these tokens were used. The flusher calls it before they leave
// the table's unsaved tokens, and when it has recovered uses at a start.
func (v *Views) NoteUses(unsaved func() []table.Sight) {
	if v.tokens.notes.on.Load() && v.tokens.notes.add(unsaved()...) > mostNotes {
		v.tokens.giveUp()
	}
}

// mostNotes is how many uses a copy of the facts is kept for that nobody asks for.
const mostNotes = 1 << 18

// NoteUser records a user, by number, as a change has left it. The writer calls it.
func (v *Views) NoteUser(number uint32, u record.User) {
	if v.people.notes.on.Load() {
		v.people.notes.add(changed{number, personOf(u)})
	}
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
