package record

import (
	"encoding/json"
	"fmt"
	"slices"

	"gatehouse/storage/disk"
)

// User is a person or a program that holds tokens.
type User struct {
	ID      UserID    `json:"-"`
	State   UserState `json:"-"`
	Epoch   uint32    `json:"-"` // sessions of another epoch are over
	UID     string    `json:"-"`
	Name    string    `json:"name,omitempty"`
	Source  string    `json:"source"`
	Created int64     `json:"created"`           // ms
	StateAt int64     `json:"stateAt,omitempty"` // ms; when the current state began; 0: unknown, or the state has never changed

	Identities []Identity `json:"identities,omitempty"` // in the order in which they were added
	Fixed      bool       `json:"fixed,omitempty"`      // the uid follows no identity: an administrator chose it, or removed the identity that made the user
	LastLogin  int64      `json:"lastLogin,omitempty"`  // ms; the last login by an identity
	Service    Service    `json:"service,omitzero"`     // zero: not a service account
	Suspension Suspension `json:"suspension,omitzero"`  // of a suspended user; zero: by the directory, or not known
	Told       []Told     `json:"told,omitempty"`       // by SCIM: at most one of each source

	Password []byte `json:"password,omitempty"` // an argon2id hash, sealed
}

// Where users come from.
const (
	// SourceLocal is the source of users with a password in Gatehouse.
	SourceLocal = "local"
	// SourceLDAP is the source of users in the directory.
	SourceLDAP = "ldap"
	// SourceService is the source of service accounts.
	SourceService = "service"
)

// Identity identifies a user in a directory or at a provider, by an identifier
// that is never given to a second person (entryUUID, objectGUID, an OAuth
// subject). The subject decides who somebody is, never a name, a DN or a mail.
type Identity struct {
	Source  string `json:"source"` // SourceLDAP, or a provider's name
	Subject string `json:"subject"`
}

// Provider returns the source without the mark that it speaks by SCIM.
func (id Identity) Provider() string { return providerOf(id.Source) }

// Suspension says what suspended a user. Only the same source ends it.
type Suspension struct {
	Source     string `json:"source"`
	UntilLogin bool   `json:"untilLogin,omitempty"` // only the next login ends it
}

// SuspendedBy reports whether a user was suspended by a source. A restore may bring over
// a suspension without its source: that one counts as the directory's if the user is
// known to the directory, and otherwise as any source's.
func (u User) SuspendedBy(source string) bool {
	switch {
	case u.State != UserSuspended:
		return false
	case u.Suspension.Source != "":
		return u.Suspension.Source == source
	}
	return source == SourceLDAP || len(u.Subjects(SourceLDAP)) == 0
}

// Local reports whether the user has a password in Gatehouse.
func (u User) Local() bool { return u.Source == SourceLocal }

// Only reports whether the user has no password and all identities are from this source:
// by logins, or by SCIM.
func (u User) Only(source string) bool {
	other := func(id Identity) bool { return providerOf(id.Source) != providerOf(source) }
	return !u.Local() && !slices.ContainsFunc(u.Identities, other)
}

// Subjects lists the user's subjects in a source, the oldest first.
func (u User) Subjects(source string) (list []string) {
	for _, id := range u.Identities {
		if id.Source == source {
			list = append(list, id.Subject)
		}
	}
	return list
}

// NamedBy reports whether the user's uid follows the addresses of an identity.
// Only the identity that made the user can rename it, as long as the user has
// that identity.
func (u User) NamedBy(id Identity) bool {
	return !u.Local() && !u.Fixed && len(u.Identities) > 0 && u.Identities[0] == id
}

// Become sets the user's state; now is in ms. The time of the state is later than that of
// the previous one, even if the clock was set back: a restore relies on the order.
func (u *User) Become(state UserState, now int64) {
	u.State, u.StateAt, u.Suspension = state, max(now, u.StateAt+1), Suspension{}
}

// Owner is the head of the user's record.
func (u User) Owner() Owner { return Owner{ID: u.ID, Epoch: u.Epoch, State: u.State, UID: u.UID} }

// Value is the record's bytes: the head, and the rest as JSON.
func (u User) Value() ([]byte, error) {
	rest, err := json.Marshal(u)
	return append(u.Owner().AppendHead(nil), rest...), err
}

// ParseUser decodes the output of [User.Value].
func ParseUser(id UserID, b []byte) (User, error) {
	o, rest, err := ParseOwner(id, b)
	if err != nil {
		return User{}, err
	}
	u := User{ID: id, State: o.State, Epoch: o.Epoch, UID: o.UID}
	if err := json.Unmarshal(rest, &u); err != nil {
		return u, fmt.Errorf("%w: user %016x: %w", disk.ErrDamaged, id, err)
	}
	return u, nil
}
