package storage

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
	"gatehouse/storage/record"
)

// How long a browser session lasts: so long after its last use, and so long in
// all. Its last use is written at most once a minute.
const (
	SessionIdle   = 12 * time.Hour
	SessionLife   = 7 * 24 * time.Hour
	sessionUpdate = time.Minute
)

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

// CreateSession begins a session of an active user and returns its cookie; agent is
// what the browser calls itself. A session need not outlive a crash, so it does not go
// through the writer.
func (s *Store) CreateSession(by Actor, owner UserID, method, agent string) (Secret, error) {
	o, _, ok := s.table.Owners.Find(owner)
	if !ok || o.State != UserActive {
		return "", ErrNoUser
	}
	var b [32]byte
	rand.Read(b[:])
	cookie := base64.RawURLEncoding.EncodeToString(b[:])
	now := s.clock.now()
	err := s.saveSession(record.SessionKey(cookie), Session{
		Owner: owner, Epoch: o.Epoch, Method: method, Created: now, Seen: now,
		Address: by.Address, Agent: Origin{Agent: agent}.Cut().Agent,
	})
	if err != nil {
		return "", err
	}
	s.Note(by, Event{Action: ActionLogin, UID: by.Name, Detail: method})
	return Secret(cookie), nil
}

// saveSession writes a new session.
func (s *Store) saveSession(k []byte, v Session) error {
	return s.writeSession(k, func(*reader) (Session, error) { return v, nil })
}

// editSession changes a session, or returns ErrNoSession when it has been ended.
func (s *Store) editSession(k []byte, fn func(*Session)) error {
	return s.writeSession(k, func(rd *reader) (v Session, err error) {
		b, ok, err := rd.Get(k)
		if err != nil || !ok {
			return v, cmp.Or(err, ErrNoSession)
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return v, err
		}
		fn(&v)
		return v, nil
	})
}

func (s *Store) writeSession(k []byte, value func(*reader) (Session, error)) error {
	if err := s.Writable(); err != nil {
		return err
	}
	s.sessions.Lock()
	defer s.sessions.Unlock()
	defer s.sessions.drop(k)
	err := s.update(func(u *updater) error {
		v, err := value(&u.reader)
		if err != nil {
			return err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		left := max(time.Second, time.Duration(v.Created+SessionLife.Milliseconds()-s.clock.now())*time.Millisecond)
		return errors.Join(
			u.out.Put(k, b, left),
			u.out.Hint(v.HintKey(k), nil, left))
	})
	if err != nil && !errors.Is(err, ErrNoSession) {
		err = disk.NotWritten("save the session", err)
	}
	return err
}

// Session returns the session of a cookie, or ErrNoSession when there is none
// (any more), and counts the visit.
func (s *Store) Session(cookie string) (Session, error) {
	k := record.SessionKey(cookie)
	v, err := s.session(k)
	if err != nil {
		return Session{}, err
	}
	now := s.clock.now()
	if !s.lasts(&v, now) {
		return Session{}, ErrNoSession
	}
	if now >= v.Seen+sessionUpdate.Milliseconds() {
		v.Seen = now
		err := s.editSession(k, func(v *Session) { v.Seen = max(v.Seen, now) })
		if errors.Is(err, ErrNoSession) {
			return Session{}, err
		}
		s.states.sessions.Set(err)
	}
	return v, nil
}

// lasts reports whether a session is still good, and sets its UID.
func (s *Store) lasts(v *Session, now int64) bool {
	o, _, ok := s.table.Owners.Find(v.Owner)
	v.UID = o.UID
	return ok && o.State == UserActive && o.Epoch == v.Epoch &&
		now < v.Seen+SessionIdle.Milliseconds() && now < v.Created+SessionLife.Milliseconds() &&
		now >= v.Created-SessionIdle.Milliseconds() // else the clock was ahead, and it would last for years
}

// The bounds of a list, and of how many sessions are looked at for it: a program that
// logs in at each request leaves thousands.
const (
	mostListed  = 1000
	mostScanned = 10 * mostListed
)

// Sessions lists the sessions of a user that are good, the latest first, and which of
// them is that of the cookie: its place in the list, or -1. Of very many it leaves out
// the oldest.
func (s *Store) Sessions(owner UserID, cookie string) (list []Session, own int, err error) {
	mine, own := record.SessionKey(cookie), -1
	now := s.clock.now()
	err = s.view(func(rd *reader) error {
		prefix, n := record.SessionsOf(owner), 0
		for k := range rd.Scan(prefix) {
			if n++; n > mostScanned || len(list) >= mostListed {
				break
			}
			k := record.Key('s', k[len(prefix)+8:])
			var v Session
			switch b, ok, err := rd.Get(k); {
			case err != nil:
				return err
			case !ok:
				continue // it has ended
			default:
				if err := json.Unmarshal(b, &v); err != nil {
					return err
				}
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

// EndOtherSessions ends the sessions of the user of a cookie, except the cookie's own.
func (s *Store) EndOtherSessions(by Actor, cookie string) error {
	return s.alone(cookie, s.takeAway, by, ActionUserSessions, func(*User) error { return nil })
}

// ChangePassword replaces the password of the user of a cookie, and ends the user's
// sessions except the cookie's own. It returns ErrNotLocal for a user without one.
func (s *Store) ChangePassword(by Actor, cookie string, hash PasswordHash) error {
	return s.alone(cookie, s.change, by, ActionUserPassword, func(u *User) error {
		if !u.Local() {
			return ErrNotLocal
		}
		u.Password = s.passwords.Seal(uint64(u.ID), hash)
		return nil
	})
}

// alone edits the user of a cookie in a way that ends all sessions, and lets the
// cookie's begin again. A session that ended meanwhile ends no other and stays ended.
func (s *Store) alone(cookie string, change func(Actor, func(*tx) error) error, by Actor, action string, fn func(*User) error) error {
	k := record.SessionKey(cookie)
	v, err := s.session(k)
	if err != nil {
		return err
	}
	err = change(by, func(t *tx) error {
		u, err := t.userByID(v.Owner)
		if err != nil {
			return err
		}
		if u.Epoch != v.Epoch {
			return ErrNoSession
		}
		return t.edit(u.UID, action, func(u *User) error {
			u.Epoch++
			return fn(u)
		})
	})
	if err != nil {
		return err
	}
	return s.editSession(k, func(own *Session) { own.Epoch = v.Epoch + 1 })
}

// session returns what is stored, or ErrNoSession.
func (s *Store) session(k []byte) (Session, error) {
	v, turn, ok := s.sessions.find(k)
	if ok {
		return v, nil
	}
	err := s.view(func(rd *reader) error {
		b, ok, err := rd.Get(k)
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

// EndSession ends the session of a cookie, if there is one. When the index can't be
// written, such as on a full disk, the journal takes the end, in its reserve.
func (s *Store) EndSession(cookie string) error {
	s.sessions.Lock()
	defer s.sessions.Unlock()
	k := record.SessionKey(cookie)
	defer s.sessions.drop(k)
	err := s.update(func(u *updater) error { return u.deleteSession(k, u.out.Delete) })
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	return s.takeAway(Actor{}, func(t *tx) error {
		return t.deleteSession(k, func(k []byte) error { t.delete(k); return nil })
	})
}

// deleteSession deletes what there is of a session.
func (rd *reader) deleteSession(k []byte, del func([]byte) error) error {
	b, ok, err := rd.Get(k)
	if errors.Is(err, ErrDamaged) {
		return del(k)
	}
	if err != nil || !ok {
		return err
	}
	var v Session
	if json.Unmarshal(b, &v) == nil {
		err = del(v.HintKey(k))
	}
	return errors.Join(err, del(k))
}
