package storage

import (
	"fmt"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/rekey"
	"gatehouse/storage/table"
)

// TokenKey is a key that tokens are derived from. Tokens counts those of its tokens that
// are not revoked.
type TokenKey struct {
	keys.TokenKey
	Tokens int
}

// Keys lists the key file and the old ones beside it, and the token keys, each the newest
// first.
func (s *Store) Keys() (files []rekey.File, tokens []TokenKey, err error) {
	if files, err = s.keyring.Files(); err != nil {
		return nil, nil, err
	}
	if err := s.opening.AwaitTable(); err != nil {
		return nil, nil, err
	}
	n := s.tokensByKey()
	for _, k := range s.keys.List() {
		tokens = append(tokens, TokenKey{k, n[k.Number]})
	}
	return files, tokens, nil
}

// tokensByKey counts the tokens that are not revoked, by the number of their key. All
// tokens must be in the table.
func (s *Store) tokensByKey() (n [256]int) {
	for shard := range 256 {
		s.table.EachIn(byte(shard), func(e table.Entry) { n[e.ID[0]]++ })
	}
	return n
}

// KeyRotation says what a rotation of the key did.
type KeyRotation struct {
	File, ID string // the new key
	Old      string // the file that holds the old key
	TokenKey byte   // of new tokens
	Ends     int64  // when the tokens of earlier keys end, in ms; 0: they do not
}

// RotateKey replaces the key file and adds a token key, which new tokens use. If retire is
// not 0, all tokens of earlier keys end after that time. The rotation is durable when
// RotateKey returns. After an error the keys from before are in use. It returns a
// *wallclock.Doubt if the time of the end can't be trusted.
func (s *Store) RotateKey(by Actor, retire time.Duration) (done KeyRotation, err error) {
	if err := s.opening.Await(); err != nil {
		return done, err
	}
	if err := s.Writable(); err != nil {
		return done, err
	}
	now, doubt := s.Now()
	if retire > 0 {
		if doubt != nil {
			return done, doubt
		}
		done.Ends = now.Add(retire).UnixMilli()
	}
	announced := false
	r, err := s.keyring.Rotate(now, done.Ends, func(r keys.Ring) error {
		announced = true
		return s.change(by, func(t *tx) error {
			t.Event(Event{Action: ActionKeyRotate, Detail: rotationDetail(r.Current, done.Ends)})
			return nil
		})
	})
	if err != nil {
		if announced {
			s.Note(by, Event{Action: ActionKeyKept, Detail: "the rotation failed"})
		}
		return KeyRotation{}, err
	}
	s.notices.Reset() // tokens end earlier now
	done.File, done.ID, done.Old, done.TokenKey = r.Key.Name(), r.Key.ID(), r.Old, r.Ring.Current
	s.checkpoints.due.Store(true) // the present checkpoint contains the keyring that the old key opens
	return done, nil
}

func rotationDetail(number byte, ends int64) string {
	d := fmt.Sprintf("new tokens begin with %02x", number)
	if ends != 0 {
		d += "; all others end at " + time.UnixMilli(ends).UTC().Format(time.RFC3339)
	}
	return d
}

// dropKeys drops the token keys that no token needs: all tokens of such a key are revoked,
// and stay revoked.
func (s *Store) dropKeys() error {
	dropped, err := s.keyring.Drop(s.tokensByKey)
	if err == nil && len(dropped) > 0 {
		s.Note(Actor{Name: "keys"}, Event{Action: ActionKeyDrop, Detail: fmt.Sprintf("all tokens that begin with %x are revoked", dropped)})
	}
	return err
}
