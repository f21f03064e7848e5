package record

import (
	"strings"
	"unicode/utf8"
)

// Service says who answers for a service account, a program that holds tokens and never
// logs in. These are the people that an administrator chose. A removal of one of them does
// not change the record, so a crash or a restore can't come between the two: package
// storage derives the owner from who is still there.
type Service struct {
	Owner     UserID `json:"owner"`
	Successor UserID `json:"successor,omitempty"` // owns the account once Owner is removed; 0: nobody
}

// IsService reports whether the user is a service account.
func (u User) IsService() bool { return u.Service.Owner != 0 }

// serviceDomain ends the uids of service accounts.
const serviceDomain = "@service"

// maxServiceName is the length of the longest name of a service account: that of a label
// in DNS.
const maxServiceName = 63

// ServiceUID returns the uid of the service account with a name, which may be a uid
// already. It returns an *[InvalidError] for an invalid name.
func ServiceUID(name string) (string, error) {
	name = strings.TrimSuffix(name, serviceDomain)
	other := func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }
	if name == "" || len(name) > maxServiceName || name[0] == '-' || strings.ContainsFunc(name, other) {
		return "", Invalidf("a service account is named by 1 to %d of a-z, 0-9 and -, and does not begin with -", maxServiceName)
	}
	return name + serviceDomain, nil
}

// ServiceName returns the name of the service account with a uid.
func ServiceName(uid string) string { return strings.TrimSuffix(uid, serviceDomain) }

// IsServiceUID reports whether a uid is that of a service account, or looks like one:
// folded, without characters that are not drawn, and without the dot that may end a
// domain, also the ideographic one (RFC 3490, section 3.1). Such a uid is never given to
// anybody else.
func IsServiceUID(uid string) bool {
	drawn := strings.Map(func(r rune) rune {
		if !visible(r) && r != utf8.RuneError {
			return -1
		}
		return r
	}, Fold(uid))
	return strings.HasSuffix(strings.TrimRight(drawn, ".。"), serviceDomain)
}

// CheckUIDOf returns an *[InvalidError] if the user may not have a uid: only service
// accounts are named like service accounts.
func (u User) CheckUIDOf(uid string) error {
	switch {
	case u.IsService():
		if _, err := ServiceUID(uid); err != nil {
			return err
		}
		if !strings.HasSuffix(uid, serviceDomain) {
			return Invalidf("a service account keeps a name that ends with %s", serviceDomain)
		}
	case IsServiceUID(uid):
		return Invalidf("only service accounts have a uid that ends with %s", serviceDomain)
	}
	return nil
}

// ServicesKey returns the prefix of the keys of all service accounts. No source of
// identities is empty, so no other key begins so.
func ServicesKey() []byte { return IdentitiesKey("") }

// ServicesOfKey returns the prefix of the keys of the service accounts of a person.
func ServicesOfKey(person UserID) []byte { return append(ServicesKey(), person.Bytes()...) }

// ServiceKey returns the key of the hint from a person to a service account that the
// person owns or may come to own.
func ServiceKey(person, service UserID) []byte {
	return append(ServicesOfKey(person), service.Bytes()...)
}

// CutServiceKey decodes the output of [ServiceKey].
func CutServiceKey(k []byte) (person, service UserID) {
	k = k[len(ServicesKey()):]
	return DecodeUserID(k), DecodeUserID(k[8:])
}

// People lists who may own the service account, in that order.
func (s Service) People() (list []UserID) {
	for _, id := range []UserID{s.Owner, s.Successor} {
		if id != 0 {
			list = append(list, id)
		}
	}
	return list
}
