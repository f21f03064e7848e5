package storage

import (
	"gatehouse/storage/record"
	"gatehouse/storage/unlogged"
)

// How long a browser session lasts: so long after its last use, and so long in all.
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
	cookie, err := s.sessions.Begin(Session{
		Owner: owner, Epoch: o.Epoch, Method: method,
		Address: by.Address, Agent: Origin{Agent: agent}.Cut().Agent,
	})
	if err != nil {
		return "", err
	}
	s.Note(by, Event{Action: ActionLogin, UID: by.Name, Detail: method})
	return cookie, nil
}

// Session returns the session of a cookie, or ErrNoSession when there is none
// (any more), and counts the visit.
func (s *Store) Session(cookie string) (Session, error) { return s.sessions.Visit(cookie) }

// Sessions lists the sessions of a user that are good, the latest first, and which of
// them is that of the cookie: its place in the list, or -1. Of very many it leaves out
// the oldest.
func (s *Store) Sessions(owner UserID, cookie string) (list []Session, own int, err error) {
	return s.sessions.List(owner, cookie)
}

// EndSession ends the session of a cookie, if there is one. When the index can't be
// written, such as on a full disk, the log takes the end, in its reserve.
func (s *Store) EndSession(cookie string) error {
	return s.sessions.End(cookie, func(keys [][]byte) error {
		return s.takeAway(Actor{}, func(t *tx) error {
			for _, k := range keys {
				t.delete(k)
			}
			return nil
		})
	})
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
	v, err := s.sessions.Stored(cookie)
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
	return s.sessions.Edit(cookie, func(own *record.Session) { own.Epoch = v.Epoch + 1 })
}
