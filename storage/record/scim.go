package record

import (
	"slices"
	"strings"
)

// scimPrefix begins the source of what a provider says by SCIM. Such an identity lets
// nobody log in: its subject is the externalId, which need not be the subject of logins.
// (Entra ID gives each application other subjects.) A suspension by such a source does not
// end with a login, nor does one by logins end by SCIM.
const scimPrefix = "scim:"

// SCIMSource returns the source of what a provider says by SCIM.
func SCIMSource(provider string) string { return scimPrefix + provider }

// providerOf returns the provider that a source belongs to.
func providerOf(source string) string { return strings.TrimPrefix(source, scimPrefix) }

// Told is what a provider last said about a user by SCIM. The provider says it once and is
// not asked again, so it is kept, even after it has taken effect: another source may end its
// own suspension of the user.
type Told struct {
	Source string    `json:"source"` // a SCIMSource
	State  ToldState `json:"state"`
	At     int64     `json:"at"` // ms
	By     string    `json:"by"` // who said it, in words
}

// ToldState is what a provider says of a user.
type ToldState string

// What a provider may say of a user. The zero value: nothing.
const (
	ToldActive   ToldState = "active"
	ToldInactive ToldState = "inactive"
	ToldGone     ToldState = "gone"
)

// ToldBy returns what a source said last; zero: nothing.
func (u User) ToldBy(source string) Told {
	if i := slices.IndexFunc(u.Told, func(t Told) bool { return t.Source == source }); i >= 0 {
		return u.Told[i]
	}
	return Told{}
}

// Note notes what a source says of the user.
func (u *User) Note(t Told) {
	u.Told = slices.DeleteFunc(u.Told, func(old Told) bool { return old.Source == t.Source })
	u.Told = append(u.Told, t)
}

// Of reports whether a provider knows the user: by logins, or by SCIM.
func (u User) Of(provider string) bool {
	return slices.ContainsFunc(u.Identities, func(id Identity) bool { return providerOf(id.Source) == provider })
}

// OnlyAnnounced reports whether a provider has said by SCIM that the person will come, and
// nobody has ever logged in as the user.
func (u User) OnlyAnnounced(provider string) bool {
	return u.Only(provider) && len(u.Subjects(provider)) == 0 && len(u.Identities) > 0 && u.LastLogin == 0
}
