package storage

import (
	"errors"
	"slices"

	"gatehouse/storage/record"
)

// Login is what a directory or a provider has just proved about a person.
type Login struct {
	Identity
	Addresses []string // all of the person's addresses, the preferred one first; those that can't be a uid are ignored
	Name      string   // of the person: any text
}

// LogIn returns the user of a login's identity, and creates the user if there is
// none and the provider has not announced one by SCIM (see meet).
//
// The first address becomes the uid of a new user. If another user has that
// address, LogIn returns ErrOtherAccount: merging accounts by mail is how they
// get taken over (CVE-2023-3128). Later, the identity that made the user also
// renames it: when the uid is no longer among the addresses, the user gets the
// first address that is free. Identities that were linked later never rename the
// user. Otherwise two identities could rename the user back and forth, and with
// it the accounts of every application behind the gate. LogIn returns
// ErrNoAddress for a login that could name the user but has no address.
//
// A login ends a suspension by the same source, and by no other. The user returned may be
// disabled or suspended.
func (s *Store) LogIn(by Actor, in Login) (User, error) {
	if err := in.Check(); err != nil {
		return User{}, err
	}
	in.Addresses = usable(in.Addresses)
	in.Name = record.NameFrom(in.Name)
	var u User
	err := s.change(by, func(t *tx) (err error) {
		u, err = t.UserByIdentity(in.Identity)
		met := false
		if errors.Is(err, ErrNoUser) {
			u, err = t.meet(in)
			met = err == nil
		}
		if errors.Is(err, ErrNoUser) {
			u, err = t.join(in)
			return err
		}
		if err != nil {
			return err
		}
		if u.SuspendedBy(in.Source) {
			t.Event(Event{Action: ActionUserResume, UID: u.UID, Owner: u.ID})
			u.Become(UserActive, t.Now)
		}
		if u.State != UserActive {
			if met {
				return t.save(u)
			}
			return nil
		}
		u.LastLogin = t.Now
		if u.NamedBy(in.Identity) {
			if err := t.follow(&u, in); err != nil {
				return err
			}
		}
		return t.save(u)
	})
	return u, err
}

// usable returns the addresses that are valid uids of people.
func usable(addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return record.CheckUID(a) != nil || record.IsServiceUID(a) })
}

// join makes a user for an identity that has none.
func (t *tx) join(in Login) (User, error) {
	if len(in.Addresses) == 0 {
		return User{}, ErrNoAddress
	}
	u := User{UID: in.Addresses[0], Name: in.Name, Source: in.Source, Identities: []Identity{in.Identity}, LastLogin: t.Now}
	if in.Source == SourceLDAP {
		// The values of an attribute have no order (RFC 4511, section 4.1.7), so
		// the order must not decide whether somebody gets a second account.
		for _, a := range in.Addresses[1:] {
			free, err := t.free(a)
			if err != nil {
				return u, err
			}
			if !free {
				return u, ErrOtherAccount
			}
		}
	}
	t.Event(Event{Action: ActionUserAdd, UID: u.UID, Detail: in.Source})
	if err := t.add(&u); err != nil {
		if errors.Is(err, ErrUserExists) {
			err = ErrOtherAccount
		}
		return u, err
	}
	t.Hint(in.Key(), u.ID.Bytes())
	return u, t.save(u)
}

// follow updates a user's name and uid to match the identity that made the
// user. A uid that is still one of the addresses stays exactly as it is. The
// uid also stays when other users have all of the addresses.
func (t *tx) follow(u *User, in Login) error {
	if len(in.Addresses) == 0 {
		return ErrNoAddress
	}
	u.Name = in.Name
	for _, a := range in.Addresses {
		if record.Fold(a) == record.Fold(u.UID) {
			return nil
		}
	}
	for _, a := range in.Addresses {
		free, err := t.free(a)
		if err != nil {
			return err
		}
		if free {
			return t.rename(u, a)
		}
	}
	return nil
}

// RenameUser gives a user another uid, which from then on follows no identity. It
// returns ErrNoUser, ErrUserExists when another user has the uid, ErrService for a service
// account, or an *InvalidError for an invalid uid. Identities, tokens and sessions stay.
func (s *Store) RenameUser(by Actor, uid, to string) error {
	if err := record.CheckUID(to); err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		u, err := t.UserByName(uid)
		if err != nil {
			return err
		}
		if record.Fold(to) != record.Fold(u.UID) {
			free, err := t.free(to)
			if err != nil {
				return err
			}
			if !free {
				return ErrUserExists
			}
		}
		if u.IsService() {
			return ErrService
		}
		if err := t.rename(&u, to); err != nil {
			return err
		}
		u.Fixed = true
		return t.save(u)
	})
}

// free reports whether no user has the uid.
func (t *tx) free(uid string) (bool, error) {
	_, err := t.UserByName(uid)
	if errors.Is(err, ErrNoUser) {
		return true, nil
	}
	return false, err
}

// rename gives a user another uid. The uid must be free, or differ from the old one
// only in spelling.
func (t *tx) rename(u *User, uid string) error {
	t.Event(Event{Action: ActionUserRename, UID: uid, Owner: u.ID, Detail: "was " + u.UID})
	t.Delete(record.NameKey(record.Fold(u.UID)))
	return t.name(u, uid)
}
