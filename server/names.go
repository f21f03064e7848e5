package server

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A person of the directory may have several names to log in with, and failures are
// counted by name as well. Which names those are only the directory knows; the
// throttle remembers those that were tried, so that an administrator who lifts a
// person's delay lifts it for all of them.

const (
	mostNames = 16            // of a person
	nameKept  = 2 * time.Hour // longer than a count
)

// nameBucket is the name of the count of failures under a name that was typed for the
// directory, in all spellings that directories take for one: they ignore case, width
// and repeated blanks (RFC 4518).
func nameBucket(username string) string {
	return "ldap " + accountBucket(strings.Join(strings.Fields(username), " "))
}

// personBucket is the name of the count of a person's failures at the directory.
func personBucket(subject string) string { return "ldap person " + subject }

// namesOf returns the counts of the names under which logins of a person failed.
func (t *throttle) namesOf(person string) ([]string, error) {
	b, err := t.store.Remembered("names " + person)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	var names []string
	return names, json.Unmarshal(b, &names)
}

// noteName remembers the count of a name under which a login of a person failed.
func (t *throttle) noteName(person, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names, _ := t.namesOf(person)
	names = slices.DeleteFunc(names, func(n string) bool { return n == name })
	names = append(names, name)
	names = names[max(0, len(names)-mostNames):]
	if b, err := json.Marshal(names); err == nil {
		t.store.Remember("names "+person, b, nameKept)
	}
}
