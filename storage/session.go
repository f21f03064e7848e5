package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// How long a browser session lasts: so long after its last use, and so long in
// all. Its last use is written at most once a minute.
const (
	SessionIdle   = 12 * time.Hour
	SessionLife   = 7 * 24 * time.Hour
	sessionUpdate = time.Minute
)

// Session is a browser that has logged in. It is kept under the SHA-256 of its
// cookie: the cookie itself is nowhere on the disk.
type Session struct {
	Owner   UserID `json:"owner"`
	UID     string `json:"-"` // the owner's
	Epoch   uint32 `json:"epoch"`
	Method  string `json:"method"` // the source that checked the login
	Created int64  `json:"created"`
	Seen    int64  `json:"seen"`
}

// sessions has those that were looked up of late, as Badger has them, so that
// a request need not read there. Whether one is still good is asked each time.
type sessions struct {
	sync.RWMutex // held by whoever writes one

	turn uint64 // how many have been written
	seen map[string]Session
}

// mostSessions are kept. Only a login makes one, so nobody fills it from outside.
const mostSessions = 10_000

func (c *sessions) find(k []byte) (v Session, turn uint64, ok bool) {
	c.RLock()
	defer c.RUnlock()
	v, ok = c.seen[string(k)]
	return v, c.turn, ok
}

// keep takes what was read from Badger, unless one was written since find: it
// might be the one that was read, and has ended.
func (c *sessions) keep(k []byte, v Session, turn uint64) {
	c.Lock()
	defer c.Unlock()
	if turn != c.turn {
		return
	}
	if c.seen == nil {
		c.seen = make(map[string]Session)
	}
	for old := range c.seen {
		if len(c.seen) < mostSessions {
			break
		}
		delete(c.seen, old)
	}
	c.seen[string(k)] = v
}

// drop is for whoever has written one, or tried to, and holds the lock.
func (c *sessions) drop(k []byte) {
	c.turn++
	delete(c.seen, string(k))
}

func sessionKey(cookie string) []byte {
	sum := sha256.Sum256([]byte(cookie))
	return key('s', sum[:])
}

// CreateSession begins a session of an active user and returns its cookie. A
// session need not outlive a crash, so it does not go through the writer.
func (s *Store) CreateSession(by Actor, owner UserID, method string) (Secret, error) {
	o, _, ok := s.owners.find(owner)
	if !ok || o.state != UserActive {
		return "", ErrNoUser
	}
	var b [32]byte
	rand.Read(b[:])
	cookie := base64.RawURLEncoding.EncodeToString(b[:])
	now := s.now()
	err := s.saveSession(sessionKey(cookie), Session{Owner: owner, Epoch: o.epoch, Method: method, Created: now, Seen: now}, false)
	if err != nil {
		return "", err
	}
	s.Note(by, Event{Action: ActionLogin, UID: by.Name, Detail: method})
	return Secret(cookie), nil
}

// saveSession writes a session, or writes it again unless it was ended.
func (s *Store) saveSession(k []byte, v Session, again bool) error {
	if err := s.Writable(); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	left := time.Duration(v.Created+SessionLife.Milliseconds()-s.now()) * time.Millisecond
	e := badger.NewEntry(k, s.seals.seal(k, b)).WithTTL(max(left, time.Second))
	s.sessions.Lock()
	defer s.sessions.Unlock()
	defer s.sessions.drop(k)
	err = s.update(func(txn *badger.Txn) error {
		if _, ok, err := s.read(txn, k); again && !ok {
			return errors.Join(err, ErrNoSession) // it was ended meanwhile
		}
		return txn.SetEntry(e)
	})
	if err != nil && !errors.Is(err, ErrNoSession) {
		err = fmt.Errorf("%w: save the session: %w", ErrNoSpace, err)
	}
	return err
}

// Session returns the session of a cookie, or ErrNoSession when there is none
// (any more), and counts the visit.
func (s *Store) Session(cookie string) (Session, error) {
	k := sessionKey(cookie)
	v, err := s.session(k)
	if err != nil {
		return Session{}, err
	}
	now := s.now()
	o, _, ok := s.owners.find(v.Owner)
	if !ok || o.state != UserActive || o.epoch != v.Epoch ||
		now >= v.Seen+SessionIdle.Milliseconds() || now >= v.Created+SessionLife.Milliseconds() {
		return Session{}, ErrNoSession
	}
	v.UID = o.uid
	if now >= v.Seen+sessionUpdate.Milliseconds() {
		v.Seen = now
		if err := s.saveSession(k, v, true); errors.Is(err, ErrNoSession) {
			return Session{}, err
		} else if err != nil {
			s.opts.Log.Warn("a session's last use is not saved", "error", err)
		}
	}
	return v, nil
}

// session returns what is stored, or ErrNoSession.
func (s *Store) session(k []byte) (Session, error) {
	v, turn, ok := s.sessions.find(k)
	if ok {
		return v, nil
	}
	err := s.view(func(txn *badger.Txn) error {
		b, ok, err := s.get(txn, k)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNoSession
		}
		return json.Unmarshal(b, &v)
	})
	if err == nil {
		s.sessions.keep(k, v, turn)
	}
	return v, err
}

// EndSession ends the session of a cookie, if there is one.
func (s *Store) EndSession(cookie string) error {
	if err := s.Writable(); err != nil {
		return err
	}
	s.sessions.Lock()
	defer s.sessions.Unlock()
	k := sessionKey(cookie)
	defer s.sessions.drop(k)
	err := s.update(func(txn *badger.Txn) error { return txn.Delete(k) })
	if err != nil {
		return fmt.Errorf("%w: end the session: %w", ErrNoSpace, err)
	}
	return nil
}
