package unlogged

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"gatehouse/storage/index"
	"gatehouse/storage/record"
)

// Expiring keeps values for a while under a name, such as the failed logins of an account.
// All exported fields are required.
//
// It is stored under an HMAC of the name: names that people typed in (passwords among
// them) stay off the disk. A flood of names fills the disk for an hour, at the pace of
// the logins, and evicts nothing.
type Expiring struct {
	Index Index
	Key   [32]byte
	// Write is like the Update of Index, but also works while the store is being
	// closed. bytes is about how many bytes are put.
	Write func(bytes int, fn func(*index.Update) error) error

	saving sync.Mutex // held while values are written
	mu     sync.Mutex
	dirty  map[[32]byte]remembered // not yet written
	taken  map[[32]byte]remembered // being written
}

// remembered is a value that is forgotten after a time.
type remembered struct {
	value []byte
	keep  time.Duration
}

func (m *Expiring) bucket(name string) (b [32]byte) {
	h := hmac.New(sha256.New, m.Key[:])
	h.Write([]byte(name))
	h.Sum(b[:0])
	return b
}

func (m *Expiring) pending(b [32]byte) (v remembered, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok = m.dirty[b]; !ok {
		v, ok = m.taken[b]
	}
	return v, ok
}

// Get returns the value under a name, or nil.
func (m *Expiring) Get(name string) (value []byte, err error) {
	bucket := m.bucket(name)
	if v, ok := m.pending(bucket); ok {
		return v.value, nil
	}
	err = m.Index.View(func(view *index.View) error {
		value, _, err = view.Get(record.Key('f', bucket[:]))
		return err
	})
	return value, err
}

// Known returns a function that reports whether there is a value under a name, as of now.
// It is for asking about many names, by one goroutine. It is nil if there is no value at
// all.
func (m *Expiring) Known() (known func(name string) bool, err error) {
	has := map[[32]byte]struct{}{}
	m.mu.Lock()
	for _, list := range []map[[32]byte]remembered{m.dirty, m.taken} {
		for b := range list {
			has[b] = struct{}{}
		}
	}
	m.mu.Unlock()
	err = m.Index.View(func(view *index.View) error {
		for k := range view.Scan([]byte{'f'}) {
			has[[32]byte(k[1:])] = struct{}{}
		}
		return nil
	})
	if len(has) == 0 || err != nil {
		return nil, err
	}
	h, sum := hmac.New(sha256.New, m.Key[:]), [32]byte{}
	return func(name string) bool {
		h.Reset()
		h.Write([]byte(name))
		h.Sum(sum[:0])
		_, ok := has[sum]
		return ok
	}, nil
}

// Put keeps a value under a name for the time keep. It reaches the disk with the next
// [Expiring.Save].
func (m *Expiring) Put(name string, value []byte, keep time.Duration) {
	bucket := m.bucket(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(bucket, remembered{value, keep})
}

func (m *Expiring) put(bucket [32]byte, v remembered) {
	if m.dirty == nil {
		m.dirty = make(map[[32]byte]remembered)
	}
	m.dirty[bucket] = v
}

// Save writes values to the index that are not there yet. If that fails, the next
// call tries again.
func (m *Expiring) Save() error {
	m.saving.Lock()
	defer m.saving.Unlock()
	err := m.write()
	m.settle(err == nil)
	return err
}

// take returns the keys and values that are to be written.
func (m *Expiring) take() (keys [][]byte, values []remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken, m.dirty = m.dirty, nil
	for bucket, v := range m.taken {
		keys, values = append(keys, record.Key('f', bucket[:])), append(values, v)
	}
	return keys, values
}

// write writes some hundreds at a time.
func (m *Expiring) write() error {
	keys, values := m.take()
	for len(keys) > 0 {
		n, size := min(len(keys), 1000), 0
		for i := range n {
			size += 50 + len(keys[i]) + len(values[i].value)
		}
		err := m.Write(size, func(u *index.Update) (err error) {
			for i := range n {
				err = errors.Join(err, u.Put(keys[i], values[i].value, values[i].keep))
			}
			return err
		})
		if err != nil {
			return err
		}
		keys, values = keys[n:], values[n:]
	}
	return nil
}

// settle forgets written values; the next call of Save writes the others.
func (m *Expiring) settle(written bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for b, v := range m.taken {
		if _, newer := m.dirty[b]; !written && !newer {
			m.put(b, v)
		}
	}
	m.taken = nil
}

// Attempts describes failed logins to one account, or from one address. The
// server decides what follows from it.
type Attempts struct {
	Failures uint32
	Until    int64 // ms
}

// attemptsKept is how long attempts are kept after the last change.
const attemptsKept = time.Hour

// Attempts returns the attempts under a name, or the zero value.
func (m *Expiring) Attempts(name string) (v Attempts, err error) {
	b, err := m.Get(name)
	if len(b) == 12 {
		v = Attempts{binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))}
	}
	return v, err
}

// SetAttempts keeps attempts under a name.
func (m *Expiring) SetAttempts(name string, v Attempts) {
	b := binary.BigEndian.AppendUint32(nil, v.Failures)
	m.Put(name, binary.BigEndian.AppendUint64(b, uint64(v.Until)), attemptsKept)
}
