package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
)

// Attempts is what is remembered of failed logins of one account, or from one
// address. What it means is the server's to say.
type Attempts struct {
	Failures uint32
	Until    int64 // ms
}

// attemptsKept is how long they are remembered after the last change.
const attemptsKept = time.Hour

// attempts holds what is not yet in Badger. It is keyed by an HMAC of the
// bucket's name: names that people typed in (passwords among them) stay off
// the disk. A flood of names fills the disk for an hour, at the pace of the
// logins, and evicts nothing.
type attempts struct {
	key      [32]byte
	saving   sync.Mutex // held while they are brought into Badger
	mu       sync.Mutex
	dirty    map[[32]byte]remembered
	flushing map[[32]byte]remembered
}

// remembered is a value that ends by itself.
type remembered struct {
	value []byte
	keep  time.Duration
}

func (a *attempts) bucket(name string) (b [32]byte) {
	h := hmac.New(sha256.New, a.key[:])
	h.Write([]byte(name))
	h.Sum(b[:0])
	return b
}

func (a *attempts) pending(b [32]byte) (v remembered, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok = a.dirty[b]; !ok {
		v, ok = a.flushing[b]
	}
	return v, ok
}

// Remembered returns what is remembered under a name; nil for nothing.
func (s *Store) Remembered(name string) (value []byte, err error) {
	bucket := s.attempts.bucket(name)
	if v, ok := s.attempts.pending(bucket); ok {
		return v.value, nil
	}
	err = s.view(func(rd *reader) error {
		b, _, err := rd.Get(record.Key('f', bucket[:]))
		value = b
		return err
	})
	return value, err
}

// Remember keeps a value under a name for as long as keep. It reaches the disk
// within a second.
func (s *Store) Remember(name string, value []byte, keep time.Duration) {
	bucket := s.attempts.bucket(name)
	s.attempts.mu.Lock()
	defer s.attempts.mu.Unlock()
	if s.attempts.dirty == nil {
		s.attempts.dirty = make(map[[32]byte]remembered)
	}
	s.attempts.dirty[bucket] = remembered{value, keep}
}

// Attempts returns what is remembered under a name; the zero value for nothing.
func (s *Store) Attempts(name string) (v Attempts, err error) {
	b, err := s.Remembered(name)
	if len(b) == 12 {
		v = Attempts{binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))}
	}
	return v, err
}

// SetAttempts remembers attempts under a name.
func (s *Store) SetAttempts(name string, v Attempts) {
	b := binary.BigEndian.AppendUint32(nil, v.Failures)
	s.Remember(name, binary.BigEndian.AppendUint64(b, uint64(v.Until)), attemptsKept)
}

// take returns the keys and values that are to be written.
func (a *attempts) take() (keys [][]byte, values []remembered) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushing, a.dirty = a.dirty, nil
	for bucket, v := range a.flushing {
		keys, values = append(keys, record.Key('f', bucket[:])), append(values, v)
	}
	return keys, values
}

// writeAttempts writes them to the index, some hundreds at a time.
func (u *upkeep) writeAttempts() error {
	keys, values := u.s.attempts.take()
	for len(keys) > 0 {
		n, size := min(len(keys), 1000), 0
		for i := range n {
			size += 50 + len(keys[i]) + len(values[i].value)
		}
		err := u.s.index.Write(size, func(out *index.Update) error {
			for i := range n {
				if err := out.Put(keys[i], values[i].value, values[i].keep); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		keys, values = keys[n:], values[n:]
	}
	return nil
}

// settle forgets what was written; what was not goes with the next flush.
func (a *attempts) settle(written bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for b, v := range a.flushing {
		if _, newer := a.dirty[b]; !written && !newer {
			if a.dirty == nil {
				a.dirty = make(map[[32]byte]remembered)
			}
			a.dirty[b] = v
		}
	}
	a.flushing = nil
}
