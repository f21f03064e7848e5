package storage

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"

	"github.com/dgraph-io/badger/v4"
)

// Token is an API access token without its secret, which Reveal derives.
type Token struct {
	ID         ID        `json:"-"`
	Owner      UserID    `json:"-"`
	Generation byte      `json:"-"` // a rotation raises it
	Created    int64     `json:"-"` // ms
	Expires    int64     `json:"-"` // ms; 0: never
	Revoked    int64     `json:"-"` // ms; 0: not
	OwnerState UserState `json:"-"` // when it was read
	Usage      Usage     `json:"-"` // as of when it was read
	head       byte      // the flags of the record

	// The record has them as they were when it was written; what is shown is
	// brought up to date by fill.
	LastUsed int64  `json:"lastUsed"`       // ms; Created until the first use
	From     string `json:"from,omitempty"` // the address of the last use

	Order     uint16         `json:"order,omitempty"`   // among those of one millisecond
	Overlap   int64          `json:"overlap,omitempty"` // ms; until when the secret of the generation before is good; 0: no more
	Name      string         `json:"name,omitempty"`
	Scopes    []string       `json:"scopes,omitempty"`    // none: no limit
	Addresses []netip.Prefix `json:"addresses,omitempty"` // none: from anywhere
	By        string         `json:"by,omitempty"`        // who made it
}

// Limited reports whether the token may do less than its user.
func (t Token) Limited() bool {
	return t.Expires != 0 || len(t.Scopes) > 0 || len(t.Addresses) > 0
}

// Expired reports whether the token is past its end.
func (t Token) Expired(ms int64) bool { return t.Expires != 0 && ms >= t.Expires }

// Allows reports whether the token may be used for what the scope names.
func (t Token) Allows(scope string) bool {
	return len(t.Scopes) == 0 || slices.Contains(t.Scopes, scope)
}

func (t Token) allowsAddress(from netip.Addr) bool {
	return len(t.Addresses) == 0 || slices.ContainsFunc(t.Addresses, func(p netip.Prefix) bool { return p.Contains(from) })
}

// TokenSpec is what may be asked of a new token.
type TokenSpec struct {
	Name      string
	Lifetime  int64 // ms; 0: never ends
	Scopes    []string
	Addresses []netip.Prefix
}

// check returns an *InvalidError for what can't be had, and cleans the name.
func (spec *TokenSpec) check() (err error) {
	if spec.Name, err = cleanName(spec.Name); err != nil {
		return err
	}
	if len(spec.Scopes) > 32 || len(spec.Addresses) > 64 {
		return invalidf("a token takes at most 32 scopes and 64 addresses")
	}
	for _, s := range spec.Scopes {
		if err := CheckScope(s); err != nil {
			return err
		}
	}
	if spec.Lifetime < 0 {
		return invalidf("a lifetime is positive")
	}
	return nil
}

// once leaves out of a short list what stands there again.
func once[T comparable](list []T) (out []T) {
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// CheckScope returns an *InvalidError for what can't be a scope.
func CheckScope(s string) error {
	if !scopeToken(s) {
		return invalidf("a scope is 1 to 64 letters, digits and _ - . : /")
	}
	return nil
}

// scopeToken is a narrower form of RFC 6749's scope-token, safe in a header.
func scopeToken(s string) bool {
	return len(s) > 0 && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/", r))
	})
}

// CreateToken makes a token for a user and returns it with its secret. It
// returns ErrNoUser for a user that is not active, ErrTooMany, or an
// *InvalidError.
func (s *Store) CreateToken(by Actor, owner UserID, spec TokenSpec) (Token, Secret, error) {
	if err := spec.check(); err != nil {
		return Token{}, "", err
	}
	t := Token{ID: s.keys.NewID(), Owner: owner, Name: spec.Name, Scopes: once(spec.Scopes), Addresses: once(spec.Addresses), By: by.Name}
	err := s.change(by, func(tx *tx) error {
		uid, err := tx.active(owner)
		if err != nil {
			return err
		}
		if err := tx.checkRoom(owner); err != nil {
			return err
		}
		t.Created, t.LastUsed = tx.now, tx.now
		t.Order = tx.writer.stamped.at(tx.now)
		if spec.Lifetime > 0 {
			t.Expires = tx.now + spec.Lifetime
		}
		tx.event(Event{Action: ActionTokenCreate, UID: uid, Token: t.ID.String()})
		return tx.addToken(t)
	})
	if err != nil {
		return Token{}, "", err
	}
	return t, s.Reveal(t), nil
}

// addToken puts a new token, which works from when it is durable.
func (t *tx) addToken(v Token) error {
	b, err := v.record()
	if err != nil {
		return err
	}
	t.put(tokenKeyOf(v.ID), b) // of 13 random bytes
	t.first()
	t.hint(v.ownedKey(), nil)
	t.first()
	if r, ok := t.writer.rooms[v.Owner]; ok {
		t.writer.rooms[v.Owner] = room{held: r.held + 1}
	}
	t.durable(func() { t.admit(v, record.CreatedAt(v.Created)) })
	return nil
}

// admit puts a token into the table.
func (s *Store) admit(t Token, used record.LastUse) {
	o, n, ok := s.table.Owners.Find(t.Owner)
	if !ok || o.State == UserRemoved {
		return // a token of nobody authenticates nobody
	}
	s.limits.drop(t.ID)
	s.table.Put(table.Entry{ID: t.ID, Generation: t.Generation, Flags: t.flags(), Owner: n, Used: s.believe(used)})
	s.order.note(t.ID, t.Created)
}

// drop takes tokens out of the table: they are dead.
func (s *Store) drop(ids ...ID) {
	for _, id := range ids {
		s.limits.drop(id)
		s.table.Remove(id)
		s.order.note(id, 0)
	}
}

// Reveal derives the secret of a token.
func (s *Store) Reveal(t Token) Secret {
	return s.keys.Secret(t.ID, t.Generation)
}

// Token returns a token by id, also a revoked one, or ErrNoToken.
func (s *Store) Token(id ID) (t Token, err error) {
	err = s.view(func(txn *badger.Txn) error {
		t, err = s.token(txn, id)
		return err
	})
	return t, err
}

// token reads a token with its last use and its owner's state.
func (s *Store) token(txn *badger.Txn, id ID) (Token, error) {
	b, ok, err := s.get(txn, tokenKeyOf(id))
	if err != nil {
		return Token{}, err
	}
	if !ok {
		if _, held, _ := s.table.Get(id); held {
			return Token{}, fmt.Errorf("%w: token %s has no record", ErrDamaged, id)
		}
		return Token{}, ErrNoToken
	}
	t, err := parseToken(id, b)
	if err != nil {
		return t, err
	}
	return t, s.fill(txn, &t)
}

// fill adds what is not in the token's own record.
func (s *Store) fill(txn *badger.Txn, t *Token) error {
	t.OwnerState = UserRemoved
	if o, _, ok := s.table.Owners.Find(t.Owner); ok {
		t.OwnerState = o.State
	}
	r, err := s.usageOf(txn, t.ID)
	if err != nil {
		return err
	}
	s.table.Usage(t.ID, &r)
	s.addUses(t, &r)
	return nil
}

// addUses takes over what is known of the token's uses. The last use moves on,
// never back, as far as the times can be right.
func (s *Store) addUses(t *Token, r *record.UsageRecord) {
	limit, instead := s.plausible()
	r.Believed(limit, instead)
	t.Usage = r.Usage
	created := record.CreatedAt(t.Created).Believed(limit, instead).Ms()
	last := record.CreatedAt(t.LastUsed).Believed(limit, instead).Ms()
	t.LastUsed = max(last, r.Used.Shown(created))
	if len(r.Seen) > 0 {
		t.From = r.Seen[0].Address.String()
	}
}

// mostRevoked is how many revocations are one change. So others get their turn,
// and the largest records, of 7 KiB, fit with all else into a batch of the
// journal, 1 MiB, and into a transaction of Badger: no user can make tokens
// that are too large to be revoked together.
const mostRevoked = 64

// RevokeTokens revokes tokens by id and returns how many were not revoked
// before. It is on the disk when it returns.
func (s *Store) RevokeTokens(by Actor, ids ...ID) (n int, err error) {
	slices.SortFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	for part := range slices.Chunk(ids, mostRevoked) {
		revoked := 0
		err := s.takeAway(by, func(t *tx) error {
			revoked = 0
			for _, id := range part {
				ok, err := t.revoke(id)
				if err != nil {
					return err
				}
				if ok {
					revoked++
				}
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		n += revoked
	}
	return n, nil
}

// revoke makes a token dead for good; false when it was so already.
func (t *tx) revoke(id ID) (bool, error) {
	v, err := t.token(t.txn, id)
	if err != nil {
		return false, err
	}
	if v.Revoked != 0 {
		return false, nil
	}
	u, err := t.userByID(t.txn, v.Owner)
	if err != nil {
		return false, err
	}
	t.event(Event{Action: ActionTokenRevoke, UID: u.UID, Token: id.String()})
	t.delete(v.ownedKey())
	if r, ok := t.writer.rooms[v.Owner]; ok {
		t.writer.rooms[v.Owner] = room{held: r.held}
	}
	v.Revoked = t.now
	b, err := v.record()
	if err != nil {
		return false, err
	}
	t.put(tokenKeyOf(id), b)
	t.hint(v.ownedKey(), nil)
	t.durable(func() { t.drop(id); t.surplus.note(v.Owner, 1) })
	return true, nil
}

// RenameToken gives a token another name.
func (s *Store) RenameToken(by Actor, id ID, name string) error {
	name, err := cleanName(name)
	if err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		v, err := t.token(t.txn, id)
		if err != nil {
			return err
		}
		u, err := t.userByID(t.txn, v.Owner)
		if err != nil {
			return err
		}
		t.event(Event{Action: ActionTokenRename, UID: u.UID, Token: id.String(), Detail: name})
		v.Name = name
		b, err := v.record()
		if err != nil {
			return err
		}
		t.put(tokenKeyOf(id), b)
		return nil
	})
}

type (
	// ID is the public name of a token.
	ID = keys.ID
	// Secret is a credential in the form in which its user sends it.
	Secret = keys.Secret
	// PasswordHash is an argon2id hash in its usual text form.
	PasswordHash = keys.PasswordHash
)

// ParseID reads what ID.String wrote.
func ParseID(s string) (ID, error) { return keys.ParseID(s) }
