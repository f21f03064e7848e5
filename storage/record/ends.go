package record

import (
	"encoding/binary"
	"fmt"
	"slices"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// Ends are the ends in a store. An end is a fact that a restore must never undo: a token
// is revoked, its secrets before a generation are dead, a user is removed or disabled. A
// store keeps an end even if it does not know the token or the user: the next backup that
// is restored may have it.
//
// The end of a token or a user that the store has is in its record (t, u). The end
// of any other is in a record of its own (e), with nothing else: some 60 bytes in
// the index and 50 in a backup. It stays forever, since a backup that lacks it may
// be as old as the store. The record of a revoked token may be dropped in exchange
// for its end.
//
// Verification reads no e records, and needs none: a token without a record does not
// verify. Checkpoints and backups contain them. A restore reads the ends of the old
// store and applies them to the new store, which has the ends of the backup already.
// So after any number of restores, in any order, a store has the ends of all stores
// that were involved.
//
// Ends of tokens only add up. A user who was disabled may have been enabled again, so
// there the later state counts, by the time that is in the user's record. If the
// times are equal, or one is unknown, the stricter state counts. A removal is final.
type Ends struct {
	Tokens map[keys.ID]TokenEnd
	Users  map[UserID]UserEnd

	// What people were told is no end, but a restore must not undo it either.
	Notices map[NoticeID]Notice
	Known   map[keys.ID]Known
}

// TokenEnd says what has ended about a token.
type TokenEnd struct {
	Revoked    int64 // ms; 0: it is not revoked
	Generation byte  // secrets of earlier generations are dead,
	Overlap    int64 // except those of the previous one, until this time; ms
}

// End returns what has ended about the token.
func (t Token) End() TokenEnd { return TokenEnd{t.Revoked, t.Generation, t.Overlap} }

// With combines two ends of one token.
func (e TokenEnd) With(f TokenEnd) TokenEnd {
	if e.Revoked == 0 || f.Revoked != 0 && f.Revoked < e.Revoked {
		e.Revoked = f.Revoked
	}
	switch {
	case f.Generation > e.Generation:
		e.Generation, e.Overlap = f.Generation, f.Overlap
	case f.Generation == e.Generation:
		e.Overlap = min(e.Overlap, f.Overlap)
	}
	return e
}

// UserEnd is a state of a user, with the time when it began.
type UserEnd struct {
	State UserState
	At    int64 // ms; 0: not known
}

// End returns the user's current state.
func (u User) End() UserEnd { return UserEnd{u.State, u.StateAt} }

// With returns the state that counts when two stores disagree about a user.
func (e UserEnd) With(f UserEnd) UserEnd {
	newer, older := e, f
	if older.At > newer.At {
		newer, older = older, newer
	}
	known := older.At > 0 && older.At < newer.At
	if older.State == UserRemoved || newer.State != UserRemoved && !known && strictness(older.State) > strictness(newer.State) {
		newer.State = older.State
	}
	return newer
}

func strictness(s UserState) int {
	return slices.Index([]UserState{UserActive, UserSuspended, UserDisabled, UserRemoved}, s)
}

// The records of ends are
//
//	version 1 | generation 1 | overlap, revoked as uvarints    under the id of a token
//	version 1 | state 1      | at as a uvarint                 under the id of a user

// Value is the record's bytes.
func (e TokenEnd) Value() []byte {
	b := binary.AppendUvarint([]byte{1, e.Generation}, uint64(e.Overlap))
	return binary.AppendUvarint(b, uint64(e.Revoked))
}

// Value is the record's bytes.
func (e UserEnd) Value() []byte {
	return binary.AppendUvarint([]byte{1, byte(e.State)}, uint64(e.At))
}

// cutEnd returns the byte after the version, and decodes the numbers after it.
func cutEnd(b []byte, numbers ...*int64) (first byte, err error) {
	bad := fmt.Errorf("%w: an end has an unknown form", disk.ErrDamaged)
	if len(b) < 2 || b[0] != 1 {
		return 0, bad
	}
	first, b = b[1], b[2:]
	for _, n := range numbers {
		v, used := binary.Uvarint(b)
		if used <= 0 {
			return 0, bad
		}
		*n, b = int64(v), b[used:]
	}
	if len(b) > 0 {
		return 0, bad
	}
	return first, nil
}

// ParseTokenEnd decodes the output of [TokenEnd.Value].
func ParseTokenEnd(b []byte) (e TokenEnd, err error) {
	e.Generation, err = cutEnd(b, &e.Overlap, &e.Revoked)
	return e, err
}

// ParseUserEnd decodes the output of [UserEnd.Value].
func ParseUserEnd(b []byte) (e UserEnd, err error) {
	state, err := cutEnd(b, &e.At)
	e.State = UserState(state)
	return e, err
}

// NewEnds returns the ends of a store in which nothing has ended.
func NewEnds() Ends {
	return Ends{map[keys.ID]TokenEnd{}, map[UserID]UserEnd{}, map[NoticeID]Notice{}, map[keys.ID]Known{}}
}

// Take notes what an operation of a store's history ends. Call it in the order of
// the history: the last state of a user counts.
func (e *Ends) Take(k, v []byte) error {
	switch {
	case k[0] == 't' && len(k) == 1+keys.IDSize:
		head, err := ParseTokenHead(keys.ID(k[1:]), v)
		end := TokenEnd{Revoked: head.Revoked, Generation: head.Generation}
		if err == nil && head.Generation > 0 { // the head lacks the overlap
			var t Token
			t, err = ParseToken(head.ID, v)
			end = t.End()
		}
		if err != nil {
			return err
		}
		e.addToken(head.ID, end)
	case k[0] == 'e' && len(k) == 1+keys.IDSize:
		end, err := ParseTokenEnd(v)
		if err != nil {
			return err
		}
		e.addToken(keys.ID(k[1:]), end)
	case k[0] == 'u' && len(k) == 9:
		u, err := ParseUser(DecodeUserID(k[1:]), v)
		if err != nil {
			return err
		}
		e.setUser(u.ID, u.End())
	case k[0] == 'e' && len(k) == 9:
		end, err := ParseUserEnd(v)
		if err != nil {
			return err
		}
		e.setUser(DecodeUserID(k[1:]), end)
	case k[0] == 'x':
		n, err := ParseNotice(k, v)
		if err != nil {
			return err
		}
		e.Notices[n.ID] = n
	case k[0] == 'k' && len(k) == 1+keys.IDSize:
		known, err := ParseKnown(v)
		if err != nil {
			return err
		}
		e.Known[keys.ID(k[1:])] = known
	}
	return nil
}

// Drop notes that an operation of a store's history deletes a key. Ends are never deleted.
func (e *Ends) Drop(k []byte) {
	switch {
	case k[0] == 'x' && len(k) == 1+len(NoticeID{}):
		delete(e.Notices, NoticeID(k[1:]))
	case k[0] == 'k' && len(k) == 1+keys.IDSize:
		delete(e.Known, keys.ID(k[1:]))
	}
}

func (e *Ends) addToken(id keys.ID, end TokenEnd) {
	if end.Revoked != 0 || end.Generation > 0 {
		if old, ok := e.Tokens[id]; ok {
			end = old.With(end)
		}
		e.Tokens[id] = end
	}
}

func (e *Ends) setUser(id UserID, end UserEnd) {
	if e.Users[id].State != UserRemoved {
		e.Users[id] = end
	}
}

// Join adds the ends from another part of the same store.
func (e *Ends) Join(also Ends) {
	for id, end := range also.Tokens {
		e.addToken(id, end)
	}
	for id, end := range also.Users {
		if old, ok := e.Users[id]; ok {
			end = old.With(end)
		}
		e.setUser(id, end)
	}
	for id, n := range also.Notices {
		if old, ok := e.Notices[id]; ok {
			n = old.With(n)
		}
		e.Notices[id] = n
	}
	for id, k := range also.Known {
		if old, ok := e.Known[id]; ok {
			k = old.With(k)
		}
		e.Known[id] = k
	}
}
