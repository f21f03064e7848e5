package storage

import (
	"errors"
	"slices"

	"gatehouse/storage/record"
)

// Announcement is a person whom a provider has provisioned by SCIM but who has not logged
// in.
type Announcement struct {
	Provider   string
	ExternalID string // may be empty
	UID        string
	Name       string // any text
}

// What a provider says by SCIM: see package record.
const (
	ToldActive   = record.ToldActive
	ToldInactive = record.ToldInactive
	ToldGone     = record.ToldGone
)

// Announce makes a user for a person who has not logged in by a provider yet. It returns
// ErrOtherAccount if a user has the uid already, ErrLinked if one has the externalId, or an
// *InvalidError.
func (s *Store) Announce(by Actor, a Announcement, detail string) (User, error) {
	if err := record.CheckUID(a.UID); err != nil {
		return User{}, err
	}
	u := User{UID: a.UID, Name: record.NameFrom(a.Name), Source: a.Provider}
	err := s.change(by, func(t *tx) error {
		t.Event(Event{Action: ActionUserAdd, UID: u.UID, Detail: detail})
		if err := t.add(&u); err != nil {
			if errors.Is(err, ErrUserExists) {
				err = ErrOtherAccount
			}
			return err
		}
		if err := t.nameAbroad(&u, a.Provider, a.ExternalID); err != nil {
			return err
		}
		return t.save(u)
	})
	return u, err
}

// nameAbroad gives a user the externalId by which a provider knows the user. Without one
// the identity's subject is the user's own id, so that all users that the provider has named
// can be found. It does not save the user. It returns ErrLinked if another user has the
// externalId.
func (t *tx) nameAbroad(u *User, provider, externalID string) error {
	id := Identity{Source: record.SCIMSource(provider), Subject: externalID}
	i := slices.IndexFunc(u.Identities, func(one Identity) bool { return one.Source == id.Source })
	if id.Subject == "" {
		if i >= 0 {
			return nil
		}
		id.Subject = u.ID.Opaque()
	}
	if i >= 0 && u.Identities[i] == id {
		return nil
	}
	if err := id.Check(); err != nil {
		return err
	}
	if _, err := t.UserByIdentity(id); err == nil {
		return ErrLinked
	} else if !errors.Is(err, ErrNoUser) {
		return err
	}
	t.Hint(id.Key(), u.ID.Bytes())
	if i >= 0 {
		t.Delete(u.Identities[i].Key())
		u.Identities[i] = id
	} else {
		u.Identities = append(u.Identities, id)
	}
	return nil
}

// Tell stores what a provider says by SCIM about one of its users, and the externalId unless
// that is empty. It suspends nobody: a sweep does. It returns the user after the change,
// ErrNoUser for a user of another provider, and ErrLinked if another user has the
// externalId. If the person is to be stopped, a wrong externalId is ignored.
func (s *Store) Tell(by Actor, id UserID, told record.Told, externalID, detail string) (u User, err error) {
	provider := Identity{Source: told.Source}.Provider()
	write := s.takeAway
	if told.State == ToldActive {
		write = s.change
	}
	err = write(by, func(t *tx) error {
		if u, err = t.User(id); err != nil {
			return err
		}
		if u.State == UserRemoved || !u.Of(provider) || u.IsService() {
			return ErrNoUser
		}
		before := u.ToldBy(told.Source)
		news := before.State != told.State
		if told.State == ToldActive {
			// At the first word a user is active anyway.
			news = news && before.State != "" || u.SuspendedBy(told.Source)
		}
		names := len(u.Identities)
		was := u.Subjects(told.Source)
		if externalID != "" || news {
			if err := t.nameAbroad(&u, provider, externalID); err != nil {
				if told.State == ToldActive {
					return err
				}
				if err := t.nameAbroad(&u, provider, ""); err != nil {
					return err
				}
			}
		}
		if !news && names == len(u.Identities) && slices.Equal(was, u.Subjects(told.Source)) {
			return nil
		}
		if news {
			told.At = max(t.Now, u.StateAt)
			u.Note(told)
		}
		t.Event(Event{Action: ActionUserSCIM, UID: u.UID, Owner: u.ID, Detail: detail})
		return t.save(u)
	})
	return u, err
}

// meet returns the user whom a provider has announced by SCIM, now that the person logs in
// there for the first time: with the announced externalId as the subject, or with the uid as
// the address. It links the identity, but does not save the user. It returns ErrNoUser if
// nobody is announced. Nothing can be taken over: nobody has ever logged in as the user, and
// it holds no token. If an administrator has made a token for it, meet returns
// ErrOtherAccount.
func (t *tx) meet(in Login) (User, error) {
	u, err := t.UserByIdentity(Identity{Source: record.SCIMSource(in.Source), Subject: in.Subject})
	if errors.Is(err, ErrNoUser) && len(in.Addresses) > 0 {
		u, err = t.UserByName(in.Addresses[0])
	}
	if err == nil && !u.OnlyAnnounced(in.Source) {
		err = ErrNoUser
	}
	if err != nil {
		return User{}, err
	}
	for range t.Scan(record.HeldBy(u.ID)) {
		return User{}, ErrOtherAccount
	}
	t.Event(Event{Action: ActionUserLink, UID: u.UID, Owner: u.ID, Detail: in.Source + " " + in.Subject})
	t.Hint(in.Key(), u.ID.Bytes())
	u.Identities = slices.Insert(u.Identities, 0, in.Identity) // it names the user from now on
	return u, nil
}
