package read

import (
	"errors"
	"slices"

	"gatehouse/storage/record"
)

// Answering returns the owner of a service account and the successor; zero for nobody. Those
// who are removed no longer answer for it.
func (rd *Reader) Answering(u record.User) (people [2]record.User, err error) {
	n := 0
	for _, id := range u.Service.People() {
		p, err := rd.User(id)
		if errors.Is(err, ErrNoUser) || err == nil && p.State == record.UserRemoved {
			continue
		}
		if err != nil {
			return people, err
		}
		people[n] = p
		n++
	}
	return people, nil
}

// EachService calls fn with each service account that a person owns or may come to own; 0:
// with every one, in some order.
func (rd *Reader) EachService(person record.UserID, fn func(record.User) error) error {
	prefix := record.ServicesKey()
	if person != 0 {
		prefix = record.ServicesOfKey(person)
	}
	for k := range rd.Scan(prefix) {
		of, id := record.CutServiceKey(k)
		u, err := rd.User(id)
		switch {
		case errors.Is(err, ErrNoUser), err == nil && (u.State == record.UserRemoved || !slices.Contains(u.Service.People(), of)):
			continue // the hint is wrong
		case err == nil && person == 0 && of != u.Service.Owner:
			continue // its owner has a hint too
		case err == nil:
			err = fn(u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
