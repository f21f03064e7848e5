package storage

import (
	"fmt"
	"os"
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

// KeyFile is a key file, or an old one beside it.
type KeyFile struct {
	Name    string
	ID      string    // tells it from others, and says nothing about the key
	Written time.Time // the file
	Opens   bool      // the keyring of this store
}

// TokenKeys lists the token keys, the newest first.
func (s *Store) TokenKeys() (list []TokenKey, err error) {
	if err := s.opening.AwaitTable(); err != nil {
		return nil, err
	}
	n := s.tokensByKey()
	for _, k := range s.keys.List() {
		list = append(list, TokenKey{k, n[k.Number]})
	}
	return list, nil
}

// tokensByKey counts the tokens that are not revoked, by the number of their key. All
// tokens must be in the table.
func (s *Store) tokensByKey() (n [256]int) {
	for shard := range 256 {
		s.table.EachIn(byte(shard), func(e table.Entry) { n[e.ID[0]]++ })
	}
	return n
}

// KeyFiles lists the key file, and the old ones beside it, the newest first.
func (s *Store) KeyFiles() (list []KeyFile, err error) {
	s.rotating.Lock()
	defer s.rotating.Unlock()
	f, err := rekey.Key(s.opts.KeyFile, s.opts.Key)
	if err != nil {
		return nil, err
	}
	ring, err := os.ReadFile(s.path("keyring"))
	if err != nil {
		return nil, err
	}
	for _, f := range append([]keys.File{f}, rekey.Old(s.opts.KeyFile)...) {
		_, err := f.Open(s.path("keyring"), ring)
		list = append(list, KeyFile{Name: f.Name(), ID: f.ID(), Written: f.Written(), Opens: err == nil})
	}
	return list, nil
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
	s.rotating.Lock()
	defer s.rotating.Unlock()
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
	r, err := rekey.Rotation{
		Ring: s.path("keyring"), Key: s.opts.KeyFile, Now: now, Step: s.rotationStep,
		Change: func(r keys.Ring) (keys.Ring, error) { return r.Rotated(now.UnixMilli(), done.Ends) },
		Announce: func(r keys.Ring) error {
			announced = true
			return s.change(by, func(t *tx) error {
				t.Event(Event{Action: ActionKeyRotate, Detail: rotationDetail(r.Current, done.Ends)})
				return nil
			})
		},
	}.Run()
	if err != nil {
		if announced {
			s.Note(by, Event{Action: ActionKeyKept, Detail: "the rotation failed"})
		}
		return KeyRotation{}, err
	}
	s.useRing(r.Ring)
	s.opts.Key = keys.File{} // the file has another one now, which this process wrote
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

// useRing takes other token keys into use. Afterwards no token of an earlier key is being
// made.
func (s *Store) useRing(r keys.Ring) {
	s.making.Lock()
	defer s.making.Unlock()
	s.keys.Use(r)
}

// dropKeys drops the token keys that no token needs: all theirs are revoked, and stay so.
func (s *Store) dropKeys() error {
	s.rotating.Lock()
	defer s.rotating.Unlock()
	n := s.tokensByKey()
	var unused []byte
	for _, k := range s.keys.List() {
		if !k.Current && n[k.Number] == 0 {
			unused = append(unused, k.Number)
		}
	}
	if len(unused) == 0 {
		return nil
	}
	f, err := rekey.Key(s.opts.KeyFile, s.opts.Key)
	if err != nil {
		return err
	}
	r, err := rekey.Drop(s.path("keyring"), f, unused...)
	if err != nil {
		return err
	}
	s.useRing(r)
	s.Note(Actor{Name: "keys"}, Event{Action: ActionKeyDrop, Detail: fmt.Sprintf("all tokens that begin with %x are revoked", unused)})
	return nil
}
