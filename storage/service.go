package storage

import (
	"cmp"
	"errors"
	"slices"

	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

// ServiceInfo is a service account with its owner and successor.
type ServiceInfo struct {
	UserInfo
	Owner     User // zero: the account is orphaned
	Successor User // zero: there is none
}

// Orphaned reports whether nobody owns the account. Its tokens still work.
func (i ServiceInfo) Orphaned() bool { return i.Owner.ID == 0 }

// AddService makes a service account. The successor, a uid that may be empty, owns it once
// its owner is removed. It returns ErrNoUser for an owner or a successor who does not
// exist, ErrUserExists, or an *InvalidError.
func (s *Store) AddService(by Actor, name, owner, successor, description string) (User, error) {
	uid, err := record.ServiceUID(name)
	if err != nil {
		return User{}, err
	}
	if description, err = record.CleanName(description); err != nil {
		return User{}, err
	}
	u := User{UID: uid, Name: description, Source: SourceService}
	err = s.change(by, func(t *tx) error {
		first, err := t.person(owner)
		if err != nil {
			return err
		}
		second := User{}
		if successor != "" {
			if second, err = t.person(successor); err != nil {
				return err
			}
		}
		t.Event(Event{Action: ActionServiceAdd, UID: uid, Detail: "owner " + inWords(first, second)})
		u.Service.Owner = first.ID // before the name: it makes the user a service account
		if err := t.add(&u); err != nil {
			return err
		}
		return t.give(u, first, second)
	})
	return u, err
}

// person returns the user with a uid, who can own service accounts.
func (t *tx) person(uid string) (User, error) {
	u, err := t.UserByName(uid)
	if err == nil && u.IsService() {
		return u, record.Invalidf("a service account can't own another")
	}
	return u, err
}

// inWords names the owner and the successor of a service account.
func inWords(owner, successor User) string {
	switch {
	case owner.ID == 0:
		return "nobody"
	case successor.ID == 0:
		return owner.UID
	}
	return owner.UID + ", successor " + successor.UID
}

// give sets the owner and the successor of a service account, and saves it. It does not
// delete the hints of the previous ones.
func (t *tx) give(u, owner, successor User) error {
	if owner.ID == successor.ID {
		return record.Invalidf("the successor is somebody else than the owner")
	}
	u.Service = record.Service{Owner: owner.ID, Successor: successor.ID}
	for _, id := range u.Service.People() {
		t.Hint(record.ServiceKey(id, u.ID), nil)
	}
	return t.save(u)
}

// TransferService gives a service account to another owner. If successor is nil, the account
// keeps its successor, unless that is the new owner; an empty successor removes it. A call
// that changes nothing writes no event. TransferService returns ErrNoService, ErrNoUser for
// an owner or a successor who does not exist, or an *InvalidError.
func (s *Store) TransferService(by Actor, uid, owner string, successor *string) error {
	return s.change(by, func(t *tx) error {
		u, err := readService(t.Reader, uid)
		if err != nil {
			return err
		}
		before, err := t.Answering(u)
		if err != nil {
			return err
		}
		first, err := t.person(owner)
		if err != nil {
			return err
		}
		second := before[1]
		switch {
		case successor != nil && *successor == "", successor == nil && second.ID == first.ID:
			second = User{}
		case successor != nil:
			if second, err = t.person(*successor); err != nil {
				return err
			}
		}
		if first.ID == before[0].ID && second.ID == before[1].ID {
			return nil
		}
		t.Event(Event{
			Action: ActionServiceTransfer, UID: u.UID, Owner: u.ID,
			Detail: "from " + inWords(before[0], before[1]) + " to " + inWords(first, second),
		})
		for _, id := range u.Service.People() {
			t.Delete(record.ServiceKey(id, u.ID))
		}
		return t.give(u, first, second)
	})
}

// RemoveService removes a service account, which revokes its tokens for good. It returns
// ErrNoService for any other uid.
func (s *Store) RemoveService(by Actor, uid string) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := readService(t.Reader, uid)
		if err != nil {
			return err
		}
		return t.remove(u, "")
	})
}

// readService returns the service account with a uid, or ErrNoService.
func readService(rd *read.Reader, uid string) (User, error) {
	u, err := rd.UserByName(uid)
	if errors.Is(err, ErrNoUser) || err == nil && !u.IsService() {
		return User{}, ErrNoService
	}
	return u, err
}

// mostTold is how many service accounts of a removed user get an event each. All of these
// events are in one change, which must not grow without limit.
const mostTold = 100

// tellServices writes the events of what happens to the service accounts of a person who
// is removed in this change. The records of the accounts stay as they are: see
// [record.Service].
func (t *tx) tellServices(gone User) error {
	rest := 0
	err := t.EachService(gone.ID, func(u User) error {
		before, err := t.Answering(u)
		if err != nil || before[0].ID != gone.ID {
			return err
		}
		if rest++; rest > mostTold {
			return nil
		}
		if heir := before[1]; heir.ID != 0 {
			t.Event(Event{Action: ActionServiceTransfer, UID: u.UID, Owner: u.ID, Detail: "from " + gone.UID + ", who is removed, to " + heir.UID})
		} else {
			t.Event(Event{Action: ActionServiceOrphan, UID: u.UID, Owner: u.ID, Detail: "its owner " + gone.UID + " is removed"})
		}
		return nil
	})
	if rest -= mostTold; err == nil && rest > 0 {
		t.Event(Event{Action: ActionServiceOrphan, UID: gone.UID, Count: rest, Detail: "more service accounts of the user who is removed: see gatehouse service list"})
	}
	return err
}

// Service returns a service account by uid, or ErrNoService. A token not used after
// staleSince, in ms, is stale.
func (s *Store) Service(uid string, staleSince int64) (ServiceInfo, error) {
	return look(s, func(rd *read.Reader) (ServiceInfo, error) {
		u, err := readService(rd, uid)
		if err != nil {
			return ServiceInfo{}, err
		}
		return s.serviceInfo(rd, u, staleSince)
	})
}

// Services lists the service accounts that a person owns now, by uid; 0: all.
func (s *Store) Services(owner UserID, staleSince int64) (list []ServiceInfo, err error) {
	err = s.view(func(rd *read.Reader) error {
		return rd.EachService(owner, func(u User) error {
			info, err := s.serviceInfo(rd, u, staleSince)
			if err == nil && (owner == 0 || info.Owner.ID == owner) {
				list = append(list, info)
			}
			return err
		})
	})
	slices.SortFunc(list, func(a, b ServiceInfo) int { return cmp.Compare(a.UID, b.UID) })
	return list, err
}

func (s *Store) serviceInfo(rd *read.Reader, u User, staleSince int64) (info ServiceInfo, err error) {
	people, err := rd.Answering(u)
	if err != nil {
		return info, err
	}
	info.Owner, info.Successor = people[0], people[1]
	info.UserInfo, err = s.userInfo(rd, u.ID, staleSince)
	return info, err
}

// ServiceOwner returns the id of the person who owns a service account now. It is 0 for an
// orphaned account, and for a user that is not a service account.
func (s *Store) ServiceOwner(service UserID) (owner UserID, err error) {
	err = s.view(func(rd *read.Reader) error {
		u, err := rd.User(service)
		if err != nil || !u.IsService() {
			return err
		}
		people, err := rd.Answering(u)
		owner = people[0].ID
		return err
	})
	return owner, err
}

// Orphan reports whether a user is a service account that nobody owns. It reads no record.
func (s *Store) Orphan(u User) bool {
	return u.IsService() && !slices.ContainsFunc(u.Service.People(), s.isThere)
}

// isThere reports whether a user exists and is not removed.
func (s *Store) isThere(id UserID) bool {
	o, _, ok := s.table.Owners.Find(id)
	return ok && o.State != UserRemoved
}

// CountServices returns how many service accounts there are, and how many of them nobody
// owns. It reads no record.
func (s *Store) CountServices() (all, orphaned int, err error) {
	owned := map[UserID]bool{}
	err = s.view(func(rd *read.Reader) error {
		for k := range rd.Scan(record.ServicesKey()) {
			person, id := record.CutServiceKey(k)
			if s.isThere(id) {
				owned[id] = owned[id] || s.isThere(person)
			}
		}
		return nil
	})
	for _, has := range owned {
		if !has {
			orphaned++
		}
	}
	return len(owned), orphaned, err
}
