package storage

import (
	"gatehouse/storage/index"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/unlogged"
)

// How long a browser session lasts after its last use, and in all.
const (
	SessionIdle = unlogged.SessionIdle
	SessionLife = unlogged.SessionLife
)

// CreateSession begins a session of an active user and returns its cookie; agent is
// what the browser calls itself. A session need not outlive a crash, so it does not go
// through the writer.
func (s *Store) CreateSession(by Actor, owner UserID, method, agent string) (Secret, error) {
	o, _, ok := s.table.Owners.Find(owner)
	if !ok || o.State != UserActive {
		return "", ErrNoUser
	}
	cookie, err := s.unlogged.sessions.Begin(Session{
		Owner: owner, Epoch: o.Epoch, Method: method,
		Address: by.Address, Agent: Origin{Agent: agent}.Cut().Agent,
	})
	if err != nil {
		return "", err
	}
	s.Note(by, Event{Action: ActionLogin, UID: by.Name, Detail: method})
	return cookie, nil
}

// Session returns the session of a cookie and counts the visit. It returns
// ErrNoSession when the cookie has no session, or no longer has one.
func (s *Store) Session(cookie string) (Session, error) { return s.unlogged.sessions.Visit(cookie) }

// Sessions lists a user's valid sessions, the latest first. Own is the place of the
// cookie's session in the list, or -1. If there are very many, Sessions leaves out the
// oldest.
func (s *Store) Sessions(owner UserID, cookie string) (list []Session, own int, err error) {
	return s.unlogged.sessions.List(owner, cookie)
}

// EndSession ends the session of a cookie, if there is one. When the index can't be
// written, for example because the disk is full, the end goes to the journal, which has
// a reserve.
func (s *Store) EndSession(cookie string) error {
	return s.unlogged.sessions.End(cookie, func(keys [][]byte) error {
		return s.takeAway(Actor{}, func(t *tx) error {
			for _, k := range keys {
				t.Delete(k)
			}
			return nil
		})
	})
}

// EndOtherSessions ends the sessions of the user of a cookie, except the cookie's own.
func (s *Store) EndOtherSessions(by Actor, cookie string) error {
	return s.alone(cookie, s.takeAway, by, ActionUserSessions, func(*User) error { return nil })
}

// EndSessions ends all sessions of a user, because a provider has ended the person's own.
func (s *Store) EndSessions(by Actor, id UserID, why string) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := t.User(id)
		if err != nil || u.State == UserRemoved {
			return err
		}
		t.Event(Event{Action: ActionUserLogout, UID: u.UID, Owner: u.ID, Detail: why})
		u.Epoch++
		return t.save(u)
	})
}

// ChangePassword replaces the password of the user of a cookie, and ends the user's
// sessions except the cookie's own. It returns ErrNotLocal for a user without one.
func (s *Store) ChangePassword(by Actor, cookie string, hash PasswordHash) error {
	return s.alone(cookie, s.change, by, ActionUserPassword, func(u *User) error {
		if !u.Local() {
			return ErrNotLocal
		}
		u.Password = s.opening.Passwords.Seal(uint64(u.ID), hash)
		return nil
	})
}

// alone edits the user of a cookie, ends all of the user's sessions, and begins the
// cookie's session again. If the cookie's session has ended in the meantime, it stays
// ended and ends no other.
func (s *Store) alone(cookie string, change func(Actor, func(*tx) error) error, by Actor, action string, fn func(*User) error) error {
	v, err := s.unlogged.sessions.Stored(cookie)
	if err != nil {
		return err
	}
	err = change(by, func(t *tx) error {
		u, err := t.User(v.Owner)
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
	return s.unlogged.sessions.Edit(cookie, func(own *record.Session) { own.Epoch = v.Epoch + 1 })
}

// Attempts describes failed logins.
type Attempts = unlogged.Attempts

// unloggedIndex is the index as package unlogged sees it.
type unloggedIndex struct{ s *Store }

func (x unloggedIndex) Writable() error { return x.s.Writable() }

func (x unloggedIndex) View(fn func(*index.View) error) error {
	return x.s.view(func(rd *read.Reader) error { return fn(rd.View) })
}

func (x unloggedIndex) Update(fn func(*index.Update) error) error {
	if err := x.s.opening.Await(); err != nil {
		return err
	}
	return x.s.index.Update(1<<10, fn)
}

// unloggedData is the data that only the index has.
type unloggedData struct {
	sessions unlogged.Sessions
	files    unlogged.Files
	expiring unlogged.Expiring
}

func (s *Store) initUnlogged() {
	x, d := unloggedIndex{s}, &s.unlogged
	d.sessions.Index, d.sessions.Now = x, s.clock.Now
	d.sessions.Owner = func(id UserID) (record.Owner, bool) {
		o, _, ok := s.table.Owners.Find(id)
		return o, ok
	}
	d.sessions.Unsaved = func(err error) { s.upkeep.sessions.Set(err) }
	d.files.Index, d.files.Now = x, s.clock.Now
	d.expiring.Index, d.expiring.Key, d.expiring.Write = x, s.opening.Attempts, s.index.Write
}

// Files returns the files that users opened last.
func (s *Store) Files() *unlogged.Files { return &s.unlogged.files }

// Expiring returns what is remembered for a while: values and attempts under a name.
func (s *Store) Expiring() *unlogged.Expiring { return &s.unlogged.expiring }
