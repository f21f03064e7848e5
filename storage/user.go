package storage

import (
	"crypto/rand"
	"errors"
	"iter"

	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

// User returns the user with a uid, or ErrNoUser. It ignores case.
func (s *Store) User(uid string) (User, error) {
	return look(s, func(rd *read.Reader) (User, error) { return rd.UserByName(uid) })
}

// UserByID returns a user by id, even if the user is removed, or ErrNoUser.
func (s *Store) UserByID(id UserID) (User, error) {
	return look(s, func(rd *read.Reader) (User, error) { return rd.User(id) })
}

// save puts a user's record. The user's new state takes effect when the record
// is durable.
func (t *tx) save(u User) error {
	b, err := u.Value()
	if err != nil {
		return err
	}
	t.Put(record.UserKey(u.ID), b)
	t.s.noted.saved[u.ID] = true
	t.Durable(func() {
		t.s.views.NoteUser(t.s.table.Owners.Set(record.Owner{ID: u.ID, Epoch: u.Epoch, State: u.State, UID: u.UID}), u)
	})
	return nil
}

// active returns the uid of an active user, or ErrNoUser. It reads the record
// only if the table may be behind.
func (t *tx) active(id UserID) (uid string, err error) {
	if o, _, ok := t.s.table.Owners.Find(id); ok && !t.s.noted.saved[id] {
		if o.State != UserActive {
			return "", ErrNoUser
		}
		return o.UID, nil
	}
	u, err := t.User(id)
	if err == nil && u.State != UserActive {
		err = ErrNoUser
	}
	return u.UID, err
}

// AddUser makes a local user with a password. It returns ErrUserExists, or an
// *InvalidError for an invalid uid or name.
func (s *Store) AddUser(by Actor, uid, name string, hash PasswordHash) (User, error) {
	name, err := record.CleanName(name)
	if err != nil {
		return User{}, err
	}
	if err := record.CheckUID(uid); err != nil {
		return User{}, err
	}
	u := User{UID: uid, Name: name, Source: SourceLocal}
	err = s.change(by, func(t *tx) error {
		t.Event(Event{Action: ActionUserAdd, UID: uid})
		if err := t.add(&u); err != nil {
			return err
		}
		u.Password = s.opening.Passwords.Seal(uint64(u.ID), hash)
		return t.save(u)
	})
	return u, err
}

// add gives a new user its id, and its name if that is free.
func (t *tx) add(u *User) error {
	switch _, err := t.UserByName(u.UID); err {
	case nil:
		return ErrUserExists
	case ErrNoUser:
	default:
		return err
	}
	for taken := true; taken; {
		var b [8]byte
		rand.Read(b[:])
		u.ID = record.DecodeUserID(b[:])
		var err error
		if _, taken, err = t.Stored(record.UserKey(u.ID)); err != nil {
			return err
		}
	}
	u.Created = t.Now
	return t.name(u, u.UID)
}

// name gives a user a uid that no other user has. Every new uid, from a command, a login or
// a change of an address, is checked here, so that only a service account gets the name of
// a service account.
func (t *tx) name(u *User, uid string) error {
	if err := u.CheckUIDOf(uid); err != nil {
		return err
	}
	t.Hint(record.NameKey(record.Fold(uid)), u.ID.Bytes())
	u.UID = uid
	return nil
}

// edit changes a user's record.
func (t *tx) edit(uid, action string, fn func(u *User) error) error {
	u, err := t.UserByName(uid)
	if err != nil {
		return err
	}
	t.Event(Event{Action: action, UID: u.UID, Owner: u.ID})
	if err := fn(&u); err != nil {
		return err
	}
	return t.save(u)
}

// SetPassword replaces the password of a local user and ends its sessions. It returns
// ErrNoUser, ErrService for a service account, or ErrNotLocal for a user without a password.
func (s *Store) SetPassword(by Actor, uid string, hash PasswordHash) error {
	return s.change(by, func(t *tx) error {
		return t.edit(uid, ActionUserPassword, func(u *User) error {
			if u.IsService() {
				return ErrService
			}
			if !u.Local() {
				return ErrNotLocal
			}
			u.Password = s.opening.Passwords.Seal(uint64(u.ID), hash)
			u.Epoch++
			return nil
		})
	})
}

// DisableUser stops all tokens and ends all sessions of a user at once. It returns ErrNoUser
// for an unknown uid.
func (s *Store) DisableUser(by Actor, uid string) error {
	return s.takeAway(by, func(t *tx) error {
		return t.edit(uid, ActionUserDisable, func(u *User) error {
			u.Become(UserDisabled, t.Now)
			u.Epoch++
			return nil
		})
	})
}

// EnableUser makes a disabled user's tokens valid again. What a provider said by SCIM
// before does not count any more: nothing would ask the provider again. EnableUser returns
// ErrNoUser for an unknown uid.
func (s *Store) EnableUser(by Actor, uid string) error {
	return s.change(by, func(t *tx) error {
		return t.edit(uid, ActionUserEnable, func(u *User) error {
			u.Become(UserActive, t.Now)
			u.Told = nil
			return nil
		})
	})
}

// UnlockUser notes that a user's login delay is lifted, and returns the user. The
// server manages the delay itself. It returns ErrNoUser, or ErrService for a service account,
// which has no login.
func (s *Store) UnlockUser(by Actor, uid string) (u User, err error) {
	err = s.change(by, func(t *tx) error {
		u, err = t.UserByName(uid)
		if err == nil && u.IsService() {
			err = ErrService
		}
		if err != nil {
			return err
		}
		t.Event(Event{Action: ActionUserUnlock, UID: u.UID, Owner: u.ID})
		return nil
	})
	return u, err
}

// RemoveUser removes a user and so revokes its tokens for good: they belong to a removed
// user, and nobody can become that user again. It returns ErrNoUser for an unknown uid.
func (s *Store) RemoveUser(by Actor, uid string) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := t.UserByName(uid)
		if err != nil {
			return err
		}
		return t.remove(u, "")
	})
}

func (t *tx) remove(u User, why string) error {
	action := ActionUserRemove
	if u.IsService() {
		action = ActionServiceRemove
	}
	t.Event(Event{Action: action, UID: u.UID, Owner: u.ID, Detail: why})
	t.Delete(record.NameKey(record.Fold(u.UID)))
	for _, id := range u.Identities {
		t.Delete(id.Key())
	}
	for _, id := range u.Service.People() {
		t.Delete(record.ServiceKey(id, u.ID))
	}
	u.Become(UserRemoved, t.Now)
	u.Epoch++
	u.Password = nil
	var held []ID
	for k := range t.Scan(record.HeldBy(u.ID)) {
		_, id := record.CutOwnedKey(k)
		held = append(held, id)
	}
	t.Durable(func() { t.drop(held...) })
	if err := t.save(u); err != nil {
		return err
	}
	return t.tellServices(u)
}

// PasswordHash returns the user's password hash, empty for a user without one.
func (s *Store) PasswordHash(u User) (PasswordHash, error) {
	return s.opening.Passwords.Open(uint64(u.ID), u.Password)
}

// UserInfo is a user with a summary of its tokens.
type UserInfo struct {
	User
	Tokens   int   // that are not revoked
	Stale    int   // of these, those not used for a long time
	LastUsed int64 // ms, the latest of these tokens; 0: none was ever used
}

// Users lists users. It first notes the order, and then reads the users as the
// caller consumes them. It stops at the first error.
func (s *Store) Users(f UserFilter) iter.Seq2[UserInfo, error] {
	return func(yield func(UserInfo, error) bool) {
		for {
			list, err := s.standings(f)
			n := 0
			if err == nil {
				n, err = s.showUsers(list, yield)
			}
			if err != nil {
				yield(UserInfo{}, err)
			}
			if err != nil || n < 0 || n == len(list) || f.Limit == 0 || len(list) < f.Limit {
				return
			}
			last := list[len(list)-1] // some were removed since
			f.After = last.UserPlace
			f.Limit -= n
		}
	}
}

// showUsers yields the users except those that are removed. It returns how many
// it yielded, or -1 when the caller has stopped.
func (s *Store) showUsers(list []order.Standing, yield func(UserInfo, error) bool) (n int, err error) {
	err = s.view(func(rd *read.Reader) error {
		for _, at := range list {
			u, err := rd.User(s.table.Owners.ID(at.Number))
			if errors.Is(err, ErrNoUser) || u.State == UserRemoved {
				continue
			}
			if err != nil {
				return err
			}
			if !yield(UserInfo{u, at.Held.Tokens, at.Held.Stale, at.Held.Used}, nil) {
				n = -1
				return nil
			}
			n++
		}
		return nil
	})
	return n, err
}

// standings finds the users that the filter takes, in their order, with a
// summary of their tokens.
func (s *Store) standings(f UserFilter) ([]order.Standing, error) {
	if err := s.opening.AwaitTable(); err != nil {
		return nil, err
	}
	return s.views.Users(f)
}

// holding counts a user's tokens that are not revoked.
func (s *Store) holding(rd *read.Reader, id UserID, staleSince int64) (h order.Holding, err error) {
	_, number, _ := s.table.Owners.Find(id)
	for k := range rd.OwnedKeys(read.Owned{Owner: id}) {
		_, tid := record.CutOwnedKey(k)
		e, ok, err := s.lookup(tid)
		if err != nil {
			return h, err
		}
		if ok && e.Owner == number {
			h.Count(1, e.Used, staleSince)
		}
	}
	return h, nil
}

// UserInfo returns one user with a summary of its tokens, or ErrNoUser. A token not used
// after staleSince, in ms, is stale.
func (s *Store) UserInfo(uid string, staleSince int64) (UserInfo, error) {
	return look(s, func(rd *read.Reader) (UserInfo, error) {
		u, err := rd.UserByName(uid)
		if err != nil {
			return UserInfo{}, err
		}
		return s.userInfo(rd, u.ID, staleSince)
	})
}

func (s *Store) userInfo(rd *read.Reader, id UserID, staleSince int64) (info UserInfo, err error) {
	if info.User, err = rd.User(id); err != nil {
		return info, err
	}
	h, err := s.holding(rd, id, staleSince)
	info.Tokens, info.Stale, info.LastUsed = h.Tokens, h.Stale, h.Used
	return info, err
}

// UserCount counts the users that are not removed.
func (s *Store) UserCount() int { return s.table.Owners.Count() }

// CountUsers counts the users with a uid that begins with the prefix and that match accepts;
// a nil match accepts all. match must not call the store.
func (s *Store) CountUsers(prefix string, match func(*Person) bool) (int, error) {
	return s.views.CountUsers(prefix, match)
}

// UID returns the uid of a user, even of a removed one. It is empty for an
// unknown id.
func (s *Store) UID(id UserID) string {
	o, _, _ := s.table.Owners.Find(id)
	return o.UID
}
