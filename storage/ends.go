package storage

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"

	"github.com/dgraph-io/badger/v4"
)

// An end is what a restore must never undo: that a token is revoked, that its
// secrets before a generation are dead, that a user is removed or disabled. It is a
// fact of its own, which a store keeps also when it does not know the token or the
// user: the next backup that is restored may have it.
//
// The end of a token or a user that the store has is in its record (t, u). The end
// of any other is in a record of its own (e), with nothing else: some 60 bytes in
// the index and 50 in a backup. It stays forever, since a backup that lacks it may
// be as old as the store. The record of a revoked token may be dropped in exchange
// for its end: see dropRevoked.
//
// Verification reads no e records, and needs none: a token without a record does not
// verify. Checkpoints and backups contain them. A restore reads the ends of the store
// that it replaces, and applies them to the one that takes its place; those of the
// backup are there already. So after any number of restores, in any order, a store
// has the ends of all stores that were involved.
//
// Ends of tokens only add up. A user who was disabled may have been enabled again, so
// there the later state counts, by the time that is in the user's record. Where times
// are equal, or one is not known, the stricter state counts. A removal is final.
type ends struct {
	tokens map[ID]tokenEnd
	users  map[UserID]userEnd
}

// tokenEnd is what has ended of a token.
type tokenEnd struct {
	revoked    int64 // ms; 0: it is not revoked
	generation byte  // secrets of an earlier one are dead,
	overlap    int64 // except those of the one before, until then; ms
}

func (t Token) end() tokenEnd { return tokenEnd{t.Revoked, t.Generation, t.Overlap} }

// with is what has ended when both have.
func (e tokenEnd) with(f tokenEnd) tokenEnd {
	if e.revoked == 0 || f.revoked != 0 && f.revoked < e.revoked {
		e.revoked = f.revoked
	}
	switch {
	case f.generation > e.generation:
		e.generation, e.overlap = f.generation, f.overlap
	case f.generation == e.generation:
		e.overlap = min(e.overlap, f.overlap)
	}
	return e
}

// userEnd is a state that a user came into.
type userEnd struct {
	state UserState
	at    int64 // ms; 0: not known
}

func (u User) end() userEnd { return userEnd{u.State, u.StateAt} }

// with is the state of a user of whom one store says this, and another that.
func (e userEnd) with(f userEnd) userEnd {
	late, early := e, f
	if early.at > late.at {
		late, early = early, late
	}
	known := early.at > 0 && early.at < late.at
	if early.state == UserRemoved || late.state != UserRemoved && !known && strictness(early.state) > strictness(late.state) {
		late.state = early.state
	}
	return late
}

func strictness(s UserState) int {
	return slices.Index([]UserState{UserActive, UserSuspended, UserDisabled, UserRemoved}, s)
}

func tokenEndKey(id ID) []byte    { return key('e', id[:]) }
func userEndKey(id UserID) []byte { return key('e', id.Bytes()) }

// The records of ends are
//
//	version 1 | generation 1 | overlap, revoked as uvarints    under the id of a token
//	version 1 | state 1      | at as a uvarint                 under the id of a user

func (e tokenEnd) value() []byte {
	b := binary.AppendUvarint([]byte{1, e.generation}, uint64(e.overlap))
	return binary.AppendUvarint(b, uint64(e.revoked))
}

func (e userEnd) value() []byte {
	return binary.AppendUvarint([]byte{1, byte(e.state)}, uint64(e.at))
}

// cutEnd returns what follows the version, and the numbers after that.
func cutEnd(b []byte, numbers ...*int64) (first byte, err error) {
	bad := fmt.Errorf("%w: an end has an unknown form", ErrDamaged)
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

func parseTokenEnd(b []byte) (e tokenEnd, err error) {
	e.generation, err = cutEnd(b, &e.overlap, &e.revoked)
	return e, err
}

func parseUserEnd(b []byte) (e userEnd, err error) {
	state, err := cutEnd(b, &e.at)
	e.state = UserState(state)
	return e, err
}

// readEnd reads the record of an end of either kind.
func readEnd(k, v []byte) (err error) {
	switch len(k) {
	case 1 + keys.IDSize:
		_, err = parseTokenEnd(v)
	case 1 + 8:
		_, err = parseUserEnd(v)
	default:
		err = errors.New("its key has another length")
	}
	return err
}

func newEnds() ends { return ends{map[ID]tokenEnd{}, map[UserID]userEnd{}} }

// take notes what an operation of a store's history ends. Its order is that of the
// history: what is said later of a user holds.
func (e *ends) take(k, v []byte) error {
	switch {
	case k[0] == 't' && len(k) == 1+keys.IDSize:
		t, err := parseTokenHead(ID(k[1:]), v)
		if err == nil && t.Generation > 0 { // the head lacks the overlap
			t, err = parseToken(t.ID, v)
		}
		if err != nil {
			return err
		}
		e.addToken(t.ID, t.end())
	case k[0] == 'e' && len(k) == 1+keys.IDSize:
		end, err := parseTokenEnd(v)
		if err != nil {
			return err
		}
		e.addToken(ID(k[1:]), end)
	case k[0] == 'u' && len(k) == 9:
		u, err := parseUser(record.DecodeUserID(k[1:]), v)
		if err != nil {
			return err
		}
		e.setUser(u.ID, u.end())
	case k[0] == 'e' && len(k) == 9:
		end, err := parseUserEnd(v)
		if err != nil {
			return err
		}
		e.setUser(record.DecodeUserID(k[1:]), end)
	}
	return nil
}

func (e *ends) addToken(id ID, end tokenEnd) {
	if end.revoked != 0 || end.generation > 0 {
		if old, ok := e.tokens[id]; ok {
			end = old.with(end)
		}
		e.tokens[id] = end
	}
}

func (e *ends) setUser(id UserID, end userEnd) {
	if e.users[id].state != UserRemoved {
		e.users[id] = end
	}
}

// join adds what another part of the same store says has ended.
func (e *ends) join(also ends) {
	for id, end := range also.tokens {
		e.addToken(id, end)
	}
	for id, end := range also.users {
		if old, ok := e.users[id]; ok {
			end = old.with(end)
		}
		e.setUser(id, end)
	}
}

// dropRevoked puts the end of a revoked token in the place of its record. What else
// is stored of the token is for the caller to delete.
func (t *tx) dropRevoked(v Token) error {
	t.delete(tokenKeyOf(v.ID))
	return t.keepTokenEnd(v.ID, v.end())
}

// tokenEnd reads the end of a token that has no record; the zero value if there is
// none.
func (s *Store) tokenEnd(txn *badger.Txn, id ID) (tokenEnd, error) {
	b, ok, err := s.get(txn, tokenEndKey(id))
	if err != nil || !ok {
		return tokenEnd{}, err
	}
	return parseTokenEnd(b)
}

// keepTokenEnd adds to what is known to have ended of a token that has no record.
func (t *tx) keepTokenEnd(id ID, end tokenEnd) error {
	old, err := t.tokenEnd(t.txn, id)
	if err != nil {
		return err
	}
	if old != (tokenEnd{}) {
		end = end.with(old)
	}
	if end != old {
		t.put(tokenEndKey(id), end.value())
	}
	return nil
}

func (t *tx) keepUserEnd(id UserID, end userEnd) error {
	b, ok, err := t.get(t.txn, userEndKey(id))
	if err != nil {
		return err
	}
	if ok {
		old, err := parseUserEnd(b)
		if err != nil {
			return err
		}
		if end = end.with(old); end == old {
			return nil
		}
	}
	if end != (userEnd{}) { // else that of a user who was never anything but active
		t.put(userEndKey(id), end.value())
	}
	return nil
}

// apply brings the ends of another store into this one, in batches. It calls
// progress after each, with how many are done, and returns how many tokens and users
// have come to an end by it.
func (s *Store) apply(by Actor, e ends, progress func(done int) error) (n int, err error) {
	tokens := slices.SortedFunc(maps.Keys(e.tokens), func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	users := slices.SortedFunc(maps.Keys(e.users), cmp.Compare[UserID])
	total := 0
	batch := func(size int, fn func(*tx) (ended int, err error)) error {
		ended := 0
		err := s.takeAway(by, func(t *tx) (err error) {
			ended, err = fn(t)
			return err
		})
		if err != nil {
			return err
		}
		n += ended
		total += size
		return progress(total)
	}
	for part := range slices.Chunk(users, mostRevoked) {
		err := batch(len(part), func(t *tx) (int, error) { return eachEnd(part, e.users, t.endUser) })
		if err != nil {
			return n, err
		}
	}
	for part := range slices.Chunk(tokens, mostRevoked) {
		err := batch(len(part), func(t *tx) (int, error) { return eachEnd(part, e.tokens, t.endToken) })
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func eachEnd[K comparable, E any](part []K, all map[K]E, fn func(K, E) (bool, error)) (n int, err error) {
	for _, id := range part {
		ended, err := fn(id, all[id])
		if err != nil {
			return n, err
		}
		if ended {
			n++
		}
	}
	return n, nil
}

// endToken brings to a token what has ended of it, and reports whether it is revoked
// by that. A secret that was rotated away, perhaps because it had leaked, must not be
// good again.
func (t *tx) endToken(id ID, end tokenEnd) (revoked bool, err error) {
	v, err := t.token(t.txn, id)
	if errors.Is(err, ErrNoToken) {
		return false, t.keepTokenEnd(id, end)
	}
	if err != nil || v.Revoked != 0 {
		return false, err
	}
	if end.revoked != 0 {
		return t.revoke(id)
	}
	all := v.end().with(end)
	if all == v.end() {
		return false, nil
	}
	v.Generation, v.Overlap = all.generation, all.overlap
	return false, t.update(v, ActionTokenRetire)
}

// endUser brings a user to the state that counts, and reports whether that is an end.
func (t *tx) endUser(id UserID, end userEnd) (ended bool, err error) {
	u, err := t.userByID(t.txn, id)
	if errors.Is(err, ErrNoUser) {
		return false, t.keepUserEnd(id, end)
	}
	if err != nil || u.State == UserRemoved {
		return false, err
	}
	const why = "before the restore"
	all := u.end().with(end)
	if all == u.end() {
		return false, nil
	}
	if all.state == UserRemoved {
		return true, t.remove(u, why)
	}
	if all.state != u.State {
		action := map[UserState]string{UserActive: ActionUserEnable, UserSuspended: ActionUserSuspend, UserDisabled: ActionUserDisable}[all.state]
		t.event(Event{Action: action, UID: u.UID, Owner: u.ID, Detail: why})
		u.Epoch++
	}
	u.State, u.StateAt = all.state, all.at
	return all.state != UserActive, t.save(u)
}
