package guard

import (
	"encoding/json"
	"slices"
	"time"

	"gatehouse/storage"
)

// A person of the directory may have several names to log in with, and failures are
// counted by name as well. Only the directory knows all of a person's names. The throttle
// remembers the names that were tried, so that an administrator who lifts a person's
// delay lifts it for all of them.

const (
	mostNames = 16            // of a person
	nameKept  = 2 * time.Hour // longer than a count
)

// namesOf returns the counts of the names under which logins of a person failed.
func (t *Throttle) namesOf(person string) ([]string, error) {
	return recalled[[]string](t, "names "+person)
}

// recalled returns what was remembered under a name, as JSON. It is zero if nothing was.
func recalled[T any](t *Throttle, name string) (v T, err error) {
	b, err := t.counts.Get(name)
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}

// NoteName remembers the name under which a login of a person failed.
func (t *Throttle) NoteName(ofPerson, byName Attempt) {
	person, name := ofPerson.account, byName.account
	t.mu.Lock()
	defer t.mu.Unlock()
	names, _ := t.namesOf(person)
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	names = append(names, name)
	names = names[max(0, len(names)-mostNames):]
	if b, err := json.Marshal(names); err == nil {
		t.counts.Put("names "+person, b, nameKept)
	}
}

// bucketsOf names the counts of failed logins of a user, by every way in.
func (t *Throttle) bucketsOf(u storage.User) ([]string, error) {
	list := []string{accountBucket(u.UID), nameBucket(u.UID)}
	for _, id := range u.Identities {
		if id.Source != storage.SourceLDAP {
			continue
		}
		names, err := t.namesOf(personBucket(id.Subject))
		if err != nil {
			return nil, err
		}
		list = append(append(list, personBucket(id.Subject)), names...)
	}
	return list, nil
}

// Delay returns how many failures in a row delay a user, and until when; the longest of
// the delays if there are several. Without a delay both are 0.
func (t *Throttle) Delay(u storage.User) (longest storage.Attempts, err error) {
	list, err := t.bucketsOf(u)
	if err != nil {
		return longest, err
	}
	for _, bucket := range list {
		v, err := t.counts.Attempts(bucket)
		if err != nil {
			return longest, err
		}
		if ahead(v.Until, t.now()) > 0 && v.Until > longest.Until {
			longest = v
		}
	}
	return longest, nil
}

// Suspects returns a function that reports whether a user may be delayed: Delay then tells.
// It is for asking about many users, by one goroutine. It is nil if nobody is delayed.
func (t *Throttle) Suspects() (func(*storage.Person) bool, error) {
	known, err := t.counts.Known()
	if known == nil || err != nil {
		return nil, err
	}
	return func(p *storage.Person) bool {
		return known(accountBucket(p.UID)) || known(nameBucket(p.UID)) ||
			slices.ContainsFunc(p.Subjects, func(subject string) bool {
				person := personBucket(subject)
				return known(person) || known("names "+person)
			})
	}, nil
}

// Lift forgets the failed logins of a user, by every name and from every network.
func (t *Throttle) Lift(u storage.User) error {
	list, err := t.bucketsOf(u)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, account := range list {
		h, err := t.homesOf(account)
		if err != nil {
			return err
		}
		t.forget(account)
		for network := range h {
			t.forget(homeBucket(account, network))
		}
	}
	return nil
}

// forget clears a count, if there is one.
func (t *Throttle) forget(bucket string) {
	if v, err := t.counts.Attempts(bucket); err != nil || v != (storage.Attempts{}) {
		t.counts.SetAttempts(bucket, storage.Attempts{})
	}
}
