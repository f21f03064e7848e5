// Package read reads users and tokens as of one moment.
//
// Most of what it returns is in the records of the index. The table adds what is newer
// or is not in them: the uses that the index lacks, and the state of each user.
//
//	Sources.At   a view of the index  ->  a Reader of that moment
//	Reader       one user or token, by id, name or identity; a user's tokens in their order
//	Lists        all users and tokens, for the searches of package order
//
// It changes nothing, keeps nothing, and never decides who may see what it returns. It
// replaces times that can't be right, as package clock says.
package read

import (
	"errors"
	"fmt"
	"slices"

	"gatehouse/storage/clock"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// The errors for what does not exist.
var (
	ErrNoUser  = errors.New("no such user")
	ErrNoToken = errors.New("no such token")
)

// Sources are what a reader reads besides the index.
type Sources struct {
	Table   *table.Table
	Clock   *clock.Clock
	KeyEnds func(number byte) int64                  // when all tokens of a key end, in ms; 0: they do not
	Find    func(keys.ID) (table.Entry, bool, error) // finds a live token, also while the table is being loaded
}

// At returns a reader of a view of the index.
func (s *Sources) At(v *index.View) *Reader { return &Reader{v, s} }

// Reader reads the records as they were at one moment.
type Reader struct {
	*index.View
	from *Sources
}

// User reads a user, even if the user is removed. It returns ErrNoUser.
func (rd *Reader) User(id record.UserID) (record.User, error) {
	b, ok, err := rd.Get(record.UserKey(id))
	if err != nil {
		return record.User{}, err
	}
	if !ok {
		if _, _, held := rd.from.Table.Owners.Find(id); held {
			return record.User{}, fmt.Errorf("%w: user %016x has no record", disk.ErrDamaged, id)
		}
		return record.User{}, ErrNoUser
	}
	return record.ParseUser(id, b)
}

// UserByName reads the user with a uid, in any case, or returns ErrNoUser.
func (rd *Reader) UserByName(uid string) (record.User, error) {
	folded := record.Fold(uid)
	b, ok, err := rd.Stored(record.NameKey(folded))
	if err != nil {
		return record.User{}, err
	}
	if !ok || len(b) != 8 {
		return record.User{}, ErrNoUser
	}
	u, err := rd.User(record.DecodeUserID(b))
	if err == nil && (u.State == record.UserRemoved || record.Fold(u.UID) != folded) {
		return record.User{}, ErrNoUser // the hint is wrong
	}
	return u, err
}

// UserByIdentity reads the user of an identity, or returns ErrNoUser.
func (rd *Reader) UserByIdentity(id record.Identity) (record.User, error) {
	b, ok, err := rd.Stored(id.Key())
	if err != nil {
		return record.User{}, err
	}
	if !ok || len(b) != 8 {
		return record.User{}, ErrNoUser
	}
	u, err := rd.User(record.DecodeUserID(b))
	if err == nil && (u.State == record.UserRemoved || !slices.Contains(u.Identities, id)) {
		return record.User{}, ErrNoUser // the hint is wrong
	}
	return u, err
}

// Token reads a token, even if it is revoked, with its last use and its owner's state. It
// returns ErrNoToken.
func (rd *Reader) Token(id keys.ID) (record.Token, error) {
	b, ok, err := rd.Get(record.TokenKey(id))
	if err != nil {
		return record.Token{}, err
	}
	if !ok {
		if _, held, _ := rd.from.Table.Get(id); held {
			return record.Token{}, fmt.Errorf("%w: token %s has no record", disk.ErrDamaged, id)
		}
		return record.Token{}, ErrNoToken
	}
	t, err := record.ParseToken(id, b)
	if err != nil {
		return t, err
	}
	return t, rd.fill(&t)
}

// fill adds the fields that are not in the token's own record.
func (rd *Reader) fill(t *record.Token) error {
	t.KeyEnds = rd.from.KeyEnds(t.ID[0])
	t.OwnerState = record.UserRemoved
	if o, _, ok := rd.from.Table.Owners.Find(t.Owner); ok {
		t.OwnerState = o.State
	}
	r, err := rd.Usage(t.ID)
	if err != nil {
		return err
	}
	rd.from.Table.Usage(t.ID, &r)
	rd.addUses(t, &r)
	return nil
}

// addUses adds a usage record to the token. The last use only moves forward,
// and times that can't be right are replaced.
func (rd *Reader) addUses(t *record.Token, r *record.UsageRecord) {
	limit, instead := rd.from.Clock.Plausible()
	r.Believed(limit, instead)
	t.Usage = r.Usage
	created := record.CreatedAt(t.Created).Believed(limit, instead).Ms()
	last := record.CreatedAt(t.LastUsed).Believed(limit, instead).Ms()
	t.LastUsed = max(last, r.Used.Shown(created))
	if len(r.Seen) > 0 {
		t.From = r.Seen[0].Address.String()
	}
}

// Usage reads what the index has of a token's usage.
func (rd *Reader) Usage(id keys.ID) (r record.UsageRecord, err error) {
	b, ok, err := rd.Get(record.UsageKey(id))
	if err != nil || !ok {
		return r, err
	}
	if r, err = record.ParseUsage(b); err != nil {
		return r, fmt.Errorf("token %s: %w", id, err)
	}
	rd.from.Clock.BelieveUsage(&r)
	return r, nil
}

// Known reads what was noticed about a token.
func (rd *Reader) Known(id keys.ID) (record.Known, error) {
	b, ok, err := rd.Get(record.KnownKey(id))
	if err != nil || !ok {
		return record.Known{}, err
	}
	return record.ParseKnown(b)
}

// HasToken reports whether a token is live, or has a record.
func (rd *Reader) HasToken(id keys.ID) (ok bool, err error) {
	if _, live, _ := rd.from.Table.Get(id); live {
		return true, nil
	}
	_, ok, err = rd.Stored(record.TokenKey(id))
	return ok, err
}

// TokenEnd reads the end of a token that has no record. It returns the zero value
// if no end is stored.
func (rd *Reader) TokenEnd(id keys.ID) (record.TokenEnd, error) {
	b, ok, err := rd.Get(record.TokenEndKey(id))
	if err != nil || !ok {
		return record.TokenEnd{}, err
	}
	return record.ParseTokenEnd(b)
}
