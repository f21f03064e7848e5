package ldap

import (
	"errors"
	"fmt"
	"slices"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// Verdict is what a directory's answer says about one person.
type Verdict int

const (
	// Unknown means that the answer leaves the question open. It is the zero
	// value, so that forgetting to look costs nobody their access.
	Unknown Verdict = iota
	// Active is a person who is there, matches filter, is in required_group, and whose entry
	// gives no reason to stop tokens. A login may still be refused: see Reason.Suspends.
	Active
	// Stopped is a person who is there, but whose tokens must not work.
	Stopped
	// Missing is a person whom the directory no longer has.
	Missing
)

// State is what Lookup found out about a subject.
type State struct {
	Verdict Verdict
	Stop    Stop  // why the person is Stopped
	Entry   Entry // as far as it was seen; zero for a person who is Missing
}

// Reason is why a person whom the directory knows is not to be let in.
type Reason string

const (
	ReasonDisabled        Reason = "disabled"
	ReasonLocked          Reason = "locked"
	ReasonExpired         Reason = "expired"
	ReasonPasswordExpired Reason = "password expired"
	ReasonMustChange      Reason = "must change password"
	ReasonGroup           Reason = "not in required_group"
	ReasonFilter          Reason = "no longer matches filter"
	ReasonAmbiguous       Reason = "name matches more than one entry"
	ReasonNoID            Reason = "entry has no usable id_attribute"
	ReasonOther           Reason = "refused by the server"
)

// Suspends reports whether the reason stops tokens, too. A password that has
// expired or has to be changed stops logins alone: a script that runs at night
// should not die of it. An entry without a usable id also stops logins alone.
func (r Reason) Suspends() bool {
	return r != ReasonMustChange && r != ReasonPasswordExpired && r != ReasonNoID
}

// Stop is a reason not to let a person in.
type Stop struct {
	Reason Reason
	Detail string // the attribute that says so
	// open is set if the entry does not tell whether the reason still holds. A login that
	// the server grants then proves that it does not.
	open bool
}

func (s Stop) refusal() *Refusal { return &Refusal{s.Reason, s.Detail} }

// doubt is an answer about the directory's data that leaves a question open: a missing
// group, a referral, an entry that the service account may not read. The server did what
// it was asked, so it gets no penalty. Another server may know more, so it is asked too.
type doubt struct{ error }

func (d *doubt) Unwrap() error { return d.error }

// sorted turns an error into a doubt if its result code is about data, rights or the number
// of entries.
func sorted(err error) error {
	switch code(err) {
	case goldap.LDAPResultReferral:
		return &doubt{fmt.Errorf("the server refers to %q, and referrals are not followed: %w", referral(err), err)}
	case goldap.LDAPResultNoSuchObject, goldap.LDAPResultInvalidDNSyntax,
		goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultNoSuchAttribute,
		goldap.LDAPResultUndefinedAttributeType, goldap.LDAPResultInappropriateMatching, goldap.LDAPResultSizeLimitExceeded:
		return &doubt{err}
	}
	return err
}

// referral returns the first URL of an answer that is only a referral (RFC
// 4511, section 4.1.10). The library keeps the packet and does not read it.
func referral(err error) string {
	e, ok := errors.AsType[*goldap.Error](err)
	if !ok || e.Packet == nil || len(e.Packet.Children) < 2 {
		return ""
	}
	const urls = 3 // a tag
	for _, part := range e.Packet.Children[1].Children {
		if part.ClassType == ber.ClassContext && part.Tag == urls && len(part.Children) > 0 {
			url, _ := part.Children[0].Value.(string)
			return url
		}
	}
	return ""
}

// InDoubt reports whether an error is about the directory's data, such as a missing
// required_group. The servers answer in that case, so their status does not show it.
func InDoubt(err error) bool { return errors.As(err, new(*doubt)) }

// broken reports whether the connection has failed, so that nothing else can be
// asked on it.
func broken(err error) bool { return err != nil && !InDoubt(err) && !answered(err) }

// weightiest returns the first fault of a server among errs, else all doubts, each
// once.
func weightiest(errs ...error) error {
	var doubts []error
	for _, err := range errs {
		if err != nil && !InDoubt(err) {
			return err
		}
		if err != nil && !slices.ContainsFunc(doubts, func(d error) bool { return d.Error() == err.Error() }) {
			doubts = append(doubts, err)
		}
	}
	return errors.Join(doubts...)
}
