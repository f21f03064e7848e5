package read

import (
	"bytes"
	"errors"
	"fmt"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"iter"
	"runtime"
)

// Owned selects tokens of one user.
type Owned struct {
	Owner   record.UserID
	Revoked bool   // include the revoked ones, after the others
	Newest  bool   // the newest first; otherwise the oldest first
	After   string // only keys after this one; empty: from the first
}

// Lives reports whether a token belongs to the owner and is not revoked. It reads
// no record.
func (rd *Reader) Lives(owner uint32, id keys.ID) (bool, error) {
	e, ok, err := rd.from.Find(id)
	return ok && e.Owner == owner, err
}

// OwnedKeys walks the keys of a user's tokens. A key is valid until the next one.
func (rd *Reader) OwnedKeys(q Owned) iter.Seq[[]byte] {
	prefix := record.OwnedBy(q.Owner)
	if !q.Revoked {
		prefix = append(prefix, 0)
	}
	return func(yield func([]byte) bool) {
		from, scan := prefix, rd.ScanFrom
		if q.Newest {
			scan = rd.ScanBack
		}
		switch {
		case q.After != "":
			from = []byte(q.After)
		case q.Newest:
			from = append(bytes.Clone(prefix), 0xff) // no key is beyond it: the next byte is 0, 1, or the highest of a time
		}
		n := 1
		for k := range scan(prefix, from) {
			if string(k) == q.After {
				continue // after it
			}
			if !yield(k) {
				return
			}
			if n++; n%256 == 0 {
				runtime.Gosched() // let requests run during a long walk
			}
		}
	}
}

// EachOwned calls fn with each token of a user, in the order of their keys, until it returns
// false.
func (rd *Reader) EachOwned(owner record.UserID, fn func(record.Token) bool) error {
	for k := range rd.Scan(record.OwnedBy(owner)) {
		_, id := record.CutOwnedKey(k)
		t, err := rd.Token(id)
		if errors.Is(err, ErrNoToken) {
			continue // a hint may be behind
		}
		if err != nil {
			return err
		}
		if t.Owner == owner && !fn(t) {
			break
		}
	}
	return nil
}

// Lists reads all users and tokens. Each method reads them as of the moment at which it is
// called.
type Lists struct {
	View func(fn func(*Reader) error) error
}

// Held calls fn with each token of a user that is not revoked, and the time when it was
// created, in ms, until fn returns false.
func (x Lists) Held(user record.UserID, fn func(id keys.ID, created int64) bool) error {
	return x.View(func(rd *Reader) error {
		for k := range rd.Scan(record.HeldBy(user)) {
			if created, id := record.CutOwnedKey(k); !fn(id, created) {
				break
			}
		}
		return nil
	})
}

// Token reads a token; ok is false if it has no record.
func (x Lists) Token(id keys.ID) (t record.Token, ok bool, err error) {
	err = x.View(func(rd *Reader) (err error) {
		t, err = rd.Token(id)
		return err
	})
	if errors.Is(err, ErrNoToken) {
		return t, false, nil
	}
	return t, err == nil, err
}

// Tokens calls fn with each token of a user, until it returns false.
func (x Lists) Tokens(owner record.UserID, fn func(record.Token) bool) error {
	return x.View(func(rd *Reader) error { return rd.EachOwned(owner, fn) })
}

// TokensIn calls fn with each token with an id that has this first random byte, without
// its uses. fn must not keep the token. It is not one walk over all tokens because uses
// are not merged into the index while a view lasts.
func (x Lists) TokensIn(first byte, fn func(*record.Token)) error {
	var t record.Token // the same memory for all
	return x.in('t', first, func(rd *Reader, id keys.ID, v []byte) (err error) {
		if t, err = record.ParseToken(id, v); err == nil {
			fn(&t)
		}
		return err
	})
}

// SeenIn calls fn with the id of each token that TokensIn calls it with, and the addresses
// where it was seen, if the index has any use of it. fn must not keep the list.
func (x Lists) SeenIn(first byte, fn func(keys.ID, []record.Seen)) error {
	var r record.UsageRecord
	return x.in('l', first, func(rd *Reader, id keys.ID, v []byte) error {
		if err := r.ParseSeen(v); err != nil {
			return fmt.Errorf("token %s: %w", id, err)
		}
		rd.from.Clock.BelieveUsage(&r)
		rd.from.Table.Usage(id, &r)
		fn(id, r.Seen)
		return nil
	})
}

// KeysIn calls fn with the id of each token that has a record and an id with this first
// random byte. It reads no record.
func (x Lists) KeysIn(first byte, fn func(keys.ID)) error {
	return x.View(func(rd *Reader) error {
		n := 0
		for kid := range rd.tokenKeys() {
			for k := range rd.Scan(record.Key('t', []byte{kid, first})) {
				fn(keys.ID(k[1:]))
				if n++; n%256 == 0 {
					runtime.Gosched() // let requests run during a long walk
				}
			}
		}
		return nil
	})
}

// in walks the records of a kind, of tokens with ids that have this first random byte.
func (x Lists) in(kind, first byte, fn func(rd *Reader, id keys.ID, v []byte) error) error {
	return x.View(func(rd *Reader) error {
		for kid := range rd.tokenKeys() {
			err := rd.Each(record.Key(kind, []byte{kid, first}), func(k, v []byte) error { return fn(rd, keys.ID(k[1:]), v) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// tokenKeys yields the numbers of the keys that tokens in the index have.
func (rd *Reader) tokenKeys() iter.Seq[byte] {
	next := func(from int) int {
		for k := range rd.ScanFrom([]byte{'t'}, []byte{'t', byte(from)}) {
			return int(k[1])
		}
		return 256
	}
	return func(yield func(byte) bool) {
		for kid := next(0); kid < 256 && yield(byte(kid)); {
			if kid++; kid < 256 {
				kid = next(kid)
			}
		}
	}
}

// UsersIn calls fn with each user with an id that has this first byte. It leaves out the
// password.
func (x Lists) UsersIn(first byte, fn func(record.User)) error {
	return x.View(func(rd *Reader) error {
		return rd.Each([]byte{'u', first}, func(k, v []byte) error {
			u, err := record.ParseUser(record.DecodeUserID(k[1:]), v)
			if err != nil {
				return err
			}
			u.Password = nil
			fn(u)
			return nil
		})
	})
}
