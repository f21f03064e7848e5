package unlogged

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// How long a browser session lasts after its last use, and in all. The last use
// is written at most once a minute.
const (
	SessionIdle   = 12 * time.Hour
	SessionLife   = 7 * 24 * time.Hour
	sessionUpdate = time.Minute
)

// ErrNoSession says that a cookie has no session, or no longer has one.
var ErrNoSession = errors.New("no such session")

// Sessions are the browser sessions. All fields are required. A session that was read
// recently need not be read from the index, but its validity is checked each time.
type Sessions struct {
	Index Index
	Now   func() int64 // ms
	// Owner returns the current state of a session's user, or false if there is
	// no such user.
	Owner func(record.UserID) (record.Owner, bool)
	// Unsaved is called with the outcome of saving the time of a visit.
	Unsaved func(error)

	mu      sync.RWMutex // held while one is written
	version uint64       // counts the writes
	seen    map[string]record.Session
}

// mostSeen is how many sessions are kept in memory. Only a login makes a session, so
// nobody can fill the memory from outside.
const mostSeen = 10_000

func (s *Sessions) find(k []byte) (v record.Session, version uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok = s.seen[string(k)]
	return v, s.version, ok
}

// keep keeps a session that was read from the index, unless any session was
// written since find: it might be the same session, and may have ended.
func (s *Sessions) keep(k []byte, v record.Session, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.version {
		return
	}
	if s.seen == nil {
		s.seen = make(map[string]record.Session)
	}
	for old := range s.seen {
		if len(s.seen) < mostSeen {
			break
		}
		delete(s.seen, old)
	}
	s.seen[string(k)] = v
}

// drop forgets a session after a write, even a failed one. The caller holds the
// lock.
func (s *Sessions) drop(k []byte) {
	s.version++
	delete(s.seen, string(k))
}

// Begin begins a session of a user and returns its cookie. It sets the times.
func (s *Sessions) Begin(v record.Session) (keys.Secret, error) {
	var b [32]byte
	rand.Read(b[:])
	cookie := base64.RawURLEncoding.EncodeToString(b[:])
	v.Created = s.Now()
	v.Seen = v.Created
	err := s.write(record.SessionKey(cookie), func(*index.View) (record.Session, error) { return v, nil })
	if err != nil {
		return "", err
	}
	return keys.Secret(cookie), nil
}

// Edit changes the session of a cookie, or returns [ErrNoSession] when it has ended.
func (s *Sessions) Edit(cookie string, fn func(*record.Session)) error {
	k := record.SessionKey(cookie)
	return s.write(k, func(view *index.View) (record.Session, error) {
		v, err := read(view, k)
		if err == nil {
			fn(&v)
		}
		return v, err
	})
}

func read(view *index.View, k []byte) (v record.Session, err error) {
	b, ok, err := view.Get(k)
	if err != nil || !ok {
		return v, cmp.Or(err, ErrNoSession)
	}
	return record.ParseSession(b)
}

func (s *Sessions) write(k []byte, value func(*index.View) (record.Session, error)) error {
	if err := s.Index.Writable(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.drop(k)
	err := s.Index.Update(func(u *index.Update) error {
		v, err := value(&u.View)
		if err != nil {
			return err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		ttl := max(time.Second, time.Duration(v.Created+SessionLife.Milliseconds()-s.Now())*time.Millisecond)
		return errors.Join(
			u.Put(k, b, ttl),
			u.Hint(v.HintKey(k), nil, ttl))
	})
	if err != nil && !errors.Is(err, ErrNoSession) {
		err = disk.NotWritten("save the session", err)
	}
	return err
}

// Stored returns the stored session of a cookie, or [ErrNoSession]. The session may no
// longer be valid.
func (s *Sessions) Stored(cookie string) (record.Session, error) {
	k := record.SessionKey(cookie)
	v, version, ok := s.find(k)
	if ok {
		return v, nil
	}
	err := s.Index.View(func(view *index.View) (err error) {
		v, err = read(view, k)
		return err
	})
	if err == nil {
		s.keep(k, v, version)
	}
	return v, err
}

// Visit returns the session of a cookie and counts the visit. It returns
// [ErrNoSession] when the cookie has no session, or no longer has one.
func (s *Sessions) Visit(cookie string) (record.Session, error) {
	v, err := s.Stored(cookie)
	if err != nil {
		return record.Session{}, err
	}
	now := s.Now()
	if !s.lasts(&v, now) {
		return record.Session{}, ErrNoSession
	}
	if now >= v.Seen+sessionUpdate.Milliseconds() {
		v.Seen = now
		err := s.Edit(cookie, func(v *record.Session) { v.Seen = max(v.Seen, now) })
		if errors.Is(err, ErrNoSession) {
			return record.Session{}, err
		}
		s.Unsaved(err)
	}
	return v, nil
}

// lasts reports whether a session is still valid, and sets its UID.
func (s *Sessions) lasts(v *record.Session, now int64) bool {
	o, ok := s.Owner(v.Owner)
	v.UID = o.UID
	return ok && o.State == record.UserActive && o.Epoch == v.Epoch &&
		now < v.Seen+SessionIdle.Milliseconds() && now < v.Created+SessionLife.Milliseconds() &&
		now >= v.Created-SessionIdle.Milliseconds() // otherwise the clock was ahead, and the session would last for years
}

// The bounds of a list, and of how many sessions are read for it: a program that logs
// in at each request leaves thousands.
const (
	mostListed  = 1000
	mostScanned = 10 * mostListed
)

// List lists a user's valid sessions, the latest first. own is the place of the
// cookie's session in the list, or -1. If there are very many, List leaves out the
// oldest.
func (s *Sessions) List(owner record.UserID, cookie string) (list []record.Session, own int, err error) {
	mine, own := record.SessionKey(cookie), -1
	now := s.Now()
	err = s.Index.View(func(view *index.View) error {
		n := 0
		for hint := range view.Scan(record.SessionsOf(owner)) {
			if n++; n > mostScanned || len(list) >= mostListed {
				break
			}
			k := record.SessionAt(hint)
			v, err := read(view, k)
			if errors.Is(err, ErrNoSession) {
				continue // it has ended
			}
			if err != nil {
				return err
			}
			if v.Owner != owner || !s.lasts(&v, now) {
				continue
			}
			if bytes.Equal(k, mine) {
				own = len(list)
			}
			list = append(list, v)
		}
		return nil
	})
	return list, own, err
}

// End ends the session of a cookie, if there is one. When the index can't be written,
// for example because the disk is full, End calls logged to delete the keys, which
// can use the reserve of the journal.
func (s *Sessions) End(cookie string, logged func(keys [][]byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := record.SessionKey(cookie)
	defer s.drop(k)
	err := s.Index.Update(func(u *index.Update) error {
		list, err := keysOf(&u.View, k)
		for _, k := range list {
			err = errors.Join(err, u.Delete(k))
		}
		return err
	})
	if err == nil || errors.Is(err, disk.ErrClosed) {
		return err
	}
	var list [][]byte
	err = s.Index.View(func(view *index.View) (err error) {
		list, err = keysOf(view, k)
		return err
	})
	if err != nil || len(list) == 0 {
		return err
	}
	return logged(list)
}

// keysOf returns all keys of a session.
func keysOf(view *index.View, k []byte) ([][]byte, error) {
	b, ok, err := view.Get(k)
	if errors.Is(err, disk.ErrDamaged) {
		return [][]byte{k}, nil
	}
	if err != nil || !ok {
		return nil, err
	}
	if v, err := record.ParseSession(b); err == nil {
		return [][]byte{v.HintKey(k), k}, nil
	}
	return [][]byte{k}, nil
}
