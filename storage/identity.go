package storage

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

// UserByIdentity returns the user of an identity, or ErrNoUser.
func (s *Store) UserByIdentity(id Identity) (User, error) {
	return look(s, func(rd *read.Reader) (User, error) { return rd.UserByIdentity(id) })
}

// Link adds another identity to a user. It returns ErrNoUser, ErrLinked when the identity
// belongs to another user, ErrService for a service account, or an *InvalidError for an
// invalid identity.
func (s *Store) Link(by Actor, uid string, id Identity) error {
	if err := id.Check(); err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		u, err := t.UserByName(uid)
		if err != nil {
			return err
		}
		switch other, err := t.UserByIdentity(id); {
		case err == nil && other.ID == u.ID:
			return nil
		case err == nil:
			return ErrLinked
		case !errors.Is(err, ErrNoUser):
			return err
		}
		if u.IsService() {
			return ErrService
		}
		t.Event(Event{Action: ActionUserLink, UID: u.UID, Owner: u.ID, Detail: id.Source + " " + id.Subject})
		t.Hint(id.Key(), u.ID.Bytes())
		u.Identities = append(u.Identities, id)
		return t.save(u)
	})
}

// Unlink removes an identity from a user and ends the user's sessions, because
// the identity may have begun some of them. It returns ErrNoUser, or ErrNoIdentity when the
// user does not have this identity. It returns an *InvalidError for the last
// identity of a user without a password: no login and no sweep of a directory
// would ever reach the tokens again.
func (s *Store) Unlink(by Actor, uid string, id Identity) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := t.UserByName(uid)
		if err != nil {
			return err
		}
		i := slices.Index(u.Identities, id)
		switch {
		case i < 0:
			return ErrNoIdentity
		case !u.Local() && len(u.Identities) == 1:
			return record.Invalidf("this is the user's only identity: remove or disable the user instead")
		}
		t.Event(Event{Action: ActionUserUnlink, UID: u.UID, Owner: u.ID, Detail: id.Source + " " + id.Subject})
		t.Delete(id.Key())
		u.Fixed = u.Fixed || u.NamedBy(id)
		u.Identities = slices.Delete(u.Identities, i, i+1)
		if !u.Local() {
			u.Source = u.Identities[0].Provider()
		}
		u.Epoch++
		return t.save(u)
	})
}

// Suspension says what suspended a user.
type Suspension = record.Suspension

// Suspend stops a user's tokens and ends its sessions until Resume, because a source (the
// directory or a provider) says so. A user who is not active stays as it is. Suspend returns
// ErrNoUser for an unknown id.
func (s *Store) Suspend(by Actor, id UserID, of Suspension, why string) error {
	return s.takeAway(by, func(t *tx) error { return t.suspend(id, of, why) })
}

func (t *tx) suspend(id UserID, of Suspension, why string) error {
	u, err := t.User(id)
	if err != nil || u.State != UserActive {
		return err
	}
	t.Event(Event{Action: ActionUserSuspend, UID: u.UID, Owner: u.ID, Detail: why})
	u.Become(UserSuspended, t.Now)
	u.Suspension = of
	u.Epoch++
	return t.save(u)
}

// Resume ends a suspension by a source, unless it lasts until the next login. The sessions
// that Suspend ended stay ended. Resume returns ErrNoUser for an unknown id.
func (s *Store) Resume(by Actor, id UserID, source string) error {
	return s.change(by, func(t *tx) error {
		u, err := t.User(id)
		if err != nil || !u.SuspendedBy(source) || u.Suspension.UntilLogin {
			return err
		}
		t.Event(Event{Action: ActionUserResume, UID: u.UID, Owner: u.ID})
		u.Become(UserActive, t.Now)
		return t.save(u)
	})
}

// Leave removes a user that a source no longer has, if no other source knows the user.
// A user who also has a password or an identity of another source is suspended: the
// identity may have been linked by mistake, and a removal can't be undone. Leave returns
// ErrNoUser for an unknown id.
func (s *Store) Leave(by Actor, id UserID, source, why string) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := t.User(id)
		if err != nil || u.State == UserRemoved {
			return err
		}
		if u.Only(source) {
			return t.remove(u, why)
		}
		return t.suspend(id, Suspension{Source: source}, why)
	})
}

// Holder is a user that a directory must be asked about.
type Holder struct {
	User
	Subjects []string // of the user in that directory; seldom more than one
}

// Holders yields the users of a source who hold tokens, or may have a session.
func (s *Store) Holders(source string) iter.Seq2[Holder, error] { return s.known(source, s.holds) }

// Known yields all users who have an identity of a source.
func (s *Store) Known(source string) iter.Seq2[Holder, error] {
	return s.known(source, func(*read.Reader, User) bool { return true })
}

func (s *Store) known(source string, match func(*read.Reader, User) bool) iter.Seq2[Holder, error] {
	prefix := record.IdentitiesKey(source)
	return func(yield func(Holder, error) bool) {
		err := s.view(func(rd *read.Reader) error {
			for k := range rd.Scan(prefix) {
				id := Identity{Source: source, Subject: string(bytes.TrimPrefix(k, prefix))}
				u, err := rd.UserByIdentity(id)
				if errors.Is(err, ErrNoUser) {
					continue
				}
				if err != nil {
					return err
				}
				subjects := u.Subjects(source)
				if subjects[0] != id.Subject || !match(rd, u) {
					continue // the user is yielded with the first of its subjects
				}
				if !yield(Holder{u, subjects}, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(Holder{}, err)
		}
	}
}

// holds reports whether a user has a token that is not revoked, or may have a session. A
// local user always counts: LastLogin is not recorded for password logins.
func (s *Store) holds(rd *read.Reader, u User) bool {
	if u.Local() || u.LastLogin+SessionLife.Milliseconds() >= s.clock.Now() {
		return true
	}
	for range rd.Scan(record.HeldBy(u.ID)) {
		return true
	}
	return false
}
