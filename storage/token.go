package storage

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"

	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// TokenSpec describes a new token.
type TokenSpec struct {
	Name      string
	Lifetime  int64 // ms; 0: never ends
	Scopes    []string
	Addresses []netip.Prefix
}

// check cleans the name, and returns an *InvalidError for an invalid spec.
func (spec *TokenSpec) check() (err error) {
	if spec.Name, err = record.CleanName(spec.Name); err != nil {
		return err
	}
	if len(spec.Scopes) > 32 || len(spec.Addresses) > 64 {
		return record.Invalidf("a token may have at most 32 scopes and 64 addresses")
	}
	for _, s := range spec.Scopes {
		if err := record.CheckScope(s); err != nil {
			return err
		}
	}
	if spec.Lifetime < 0 {
		return record.Invalidf("a lifetime must be positive")
	}
	return nil
}

// once removes duplicates from a short list.
func once[T comparable](list []T) (out []T) {
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// CreateToken makes a token for a user and returns it with its secret. It
// returns ErrNoUser for a user that is not active, ErrTooMany, or an
// *InvalidError.
func (s *Store) CreateToken(by Actor, owner UserID, spec TokenSpec) (Token, Secret, error) {
	if err := spec.check(); err != nil {
		return Token{}, "", err
	}
	defer s.keyring.Making()()
	t := Token{ID: s.keys.NewID(), Owner: owner, Name: spec.Name, Scopes: once(spec.Scopes), Addresses: once(spec.Addresses), By: by.Name}
	err := s.change(by, func(tx *tx) error {
		uid, err := tx.active(owner)
		if err != nil {
			return err
		}
		if err := tx.checkAllowance(owner); err != nil {
			return err
		}
		t.Created, t.LastUsed = tx.Now, tx.Now
		t.Order = tx.s.noted.stamped.at(tx.Now)
		if spec.Lifetime > 0 {
			t.Expires = tx.Now + spec.Lifetime
		}
		tx.Event(Event{Action: ActionTokenCreate, UID: uid, Token: t.ID.String()})
		return tx.addToken(t)
	})
	if err != nil {
		return Token{}, "", err
	}
	return t, s.Reveal(t), nil
}

// addToken puts a new token. The token works as soon as it is durable.
func (t *tx) addToken(v Token) error {
	b, err := v.Value()
	if err != nil {
		return err
	}
	t.Put(record.TokenKey(v.ID), b) // the key has 13 random bytes
	t.First()
	t.Hint(v.OwnedKey(), nil)
	t.First()
	if r, ok := t.s.noted.allowances[v.Owner]; ok {
		t.s.noted.allowances[v.Owner] = allowance{held: r.held + 1}
	}
	t.Durable(func() { t.admit(v); t.s.notices.Note(v.ID, v.Created, v.Expires, t.Now) })
	return nil
}

// admit puts a token into the table, once it is durable.
func (t *tx) admit(v Token) {
	s := t.s
	o, n, ok := s.table.Owners.Find(v.Owner)
	if !ok || o.State == UserRemoved {
		return // a token without an owner authenticates nobody
	}
	s.verifier.Forget(v.ID)
	s.table.Put(table.Entry{ID: v.ID, Generation: v.Generation, Flags: v.Flags(), Owner: n, Used: record.CreatedAt(v.Created)})
	s.views.NoteToken(v.ID)
}

// drop takes dead tokens out of the table, once the change is durable.
func (t *tx) drop(ids ...ID) {
	for _, id := range ids {
		t.s.verifier.Forget(id)
		t.s.table.Remove(id)
		t.s.views.NoteToken(id)
	}
}

// Reveal derives the secret of a token.
func (s *Store) Reveal(t Token) Secret {
	return s.keys.Secret(t.ID, t.Generation)
}

// Token returns a token by id, even if it is revoked, or ErrNoToken.
func (s *Store) Token(id ID) (Token, error) {
	return look(s, func(rd *read.Reader) (Token, error) { return rd.Token(id) })
}

// MostRevoked is how many revocations form one change. The limit lets other
// changes get their turn. It also makes sure that the largest records, of 7
// KiB, fit into a batch of the journal, 1 MiB, and into a transaction of
// Badger: no user can create tokens that are too large to be revoked together.
const MostRevoked = 64

// RevokeTokens revokes tokens by id and returns how many were not revoked before. The
// revocations are durable when it returns. It makes one change for every MostRevoked ids, in
// the order of the ids. It returns ErrNoToken for an id without a record. The change with that id and
// the later ones are then not made; the earlier ones stay.
func (s *Store) RevokeTokens(by Actor, ids ...ID) (n int, err error) {
	n, _, err = s.revokeTokens(by, ids, nil)
	return n, err
}

// Found says where a scan found a token.
type Found struct {
	Place  string
	Notice record.Notice // for the owner; no targets: there is none
}

// RevokeFound revokes tokens that a scan found, as RevokeTokens does. For each token that
// it revokes, the same change writes an event ActionTokenFound with the place, and posts
// the notice. RevokeFound returns these notices.
func (s *Store) RevokeFound(by Actor, found map[ID]Found) (n int, posted []record.Notice, err error) {
	return s.revokeTokens(by, slices.Collect(maps.Keys(found)), found)
}

func (s *Store) revokeTokens(by Actor, ids []ID, found map[ID]Found) (n int, posted []record.Notice, err error) {
	ids = slices.Clone(ids) // the caller's stay in their order
	slices.SortFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	for part := range slices.Chunk(ids, MostRevoked) {
		revoked := 0
		var told []record.Notice
		err := s.takeAway(by, func(t *tx) error {
			revoked, told = 0, nil
			for _, id := range part {
				f := found[id]
				ok, err := t.revokeAt(id, f.Place)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				revoked++
				if f.Notice.Made = t.Now; f.Notice.Pending() {
					told = append(told, f.Notice)
					if err := t.Notice(f.Notice); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return n, posted, err
		}
		n += revoked
		posted = append(posted, told...)
	}
	return n, posted, nil
}

// revoke revokes a token for good. It returns false if the token was already
// revoked.
func (t *tx) revoke(id ID) (bool, error) { return t.revokeAt(id, "") }

// revokeAt is revoke, for a token that was found at a place; empty: it was not.
func (t *tx) revokeAt(id ID, place string) (bool, error) {
	v, err := t.Token(id)
	if err != nil {
		return false, err
	}
	if v.Revoked != 0 {
		return false, nil
	}
	u, err := t.User(v.Owner)
	if err != nil {
		return false, err
	}
	if place != "" {
		t.Event(Event{Action: ActionTokenFound, UID: u.UID, Token: id.String(), Detail: place})
	}
	t.Event(Event{Action: ActionTokenRevoke, UID: u.UID, Token: id.String()})
	t.Delete(v.OwnedKey())
	if r, ok := t.s.noted.allowances[v.Owner]; ok {
		t.s.noted.allowances[v.Owner] = allowance{held: r.held}
	}
	v.Revoked = t.Now
	b, err := v.Value()
	if err != nil {
		return false, err
	}
	t.Put(record.TokenKey(id), b)
	t.Hint(v.OwnedKey(), nil)
	t.Durable(func() { t.drop(id); t.s.surplus.Note(v.Owner, 1) })
	return true, nil
}

// RenameToken gives a token another name, even a revoked one. It returns ErrNoToken, or an
// *InvalidError for an invalid name.
func (s *Store) RenameToken(by Actor, id ID, name string) error {
	name, err := record.CleanName(name)
	if err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		v, err := t.Token(id)
		if err != nil {
			return err
		}
		u, err := t.User(v.Owner)
		if err != nil {
			return err
		}
		t.Event(Event{Action: ActionTokenRename, UID: u.UID, Token: id.String(), Detail: name})
		v.Name = name
		b, err := v.Value()
		if err != nil {
			return err
		}
		t.Put(record.TokenKey(id), b)
		t.Durable(func() { t.s.views.NoteToken(id) })
		return nil
	})
}

// RevokeMatching revokes the tokens with these ids that the filter and match (unless
// it is nil) still accept, and returns how many. The writer asks both again just
// before it writes, so that a token used since the ids were found can be spared. So
// match must not wait for the store. RevokeMatching skips ids of tokens that are not live.
// After an error, the tokens that it has counted stay revoked.
func (s *Store) RevokeMatching(by Actor, f TokenFilter, ids []ID, match func(Token) bool) (n int, err error) {
	v, err := s.views.Sieve(f)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(ids, MostRevoked) {
		revoked := 0
		err := s.takeAway(by, func(t *tx) (err error) {
			revoked, err = t.revokeMatching(v, part, match)
			return err
		})
		if err != nil {
			return n, err
		}
		n += revoked
	}
	return n, nil
}

func (t *tx) revokeMatching(v order.Sieve, ids []ID, match func(Token) bool) (n int, err error) {
	for _, id := range ids {
		e, ok, err := t.s.lookup(id)
		if err != nil {
			return n, err
		}
		if !ok || !v.Takes(id, e.Owner, e.Used) || v.Owner != 0 && t.s.table.Owners.ID(e.Owner) != v.Owner {
			continue
		}
		if match != nil {
			if now, err := t.Token(id); err != nil || !match(now) {
				if err != nil {
					return n, err
				}
				continue
			}
		}
		ok, err = t.revoke(id)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}
