// Package guard slows down everybody who guesses or floods: it hashes passwords, delays
// logins after failures, logs refusals without letting them fill the log, and bounds what
// one user may change and list.
//
// A login takes one way through it:
//
//	NewAttempt         who, from where, and which counts of failures apply
//	Throttle.Check     too early? Then a refusal, after as long as a check would take
//	Hasher.Enter       a place to hash; too many logins at once are refused
//	Throttle.Enter     waits until fewer logins of the account are under way
//	Hasher.Matches     the same work for a wrong password as for an unknown user
//	leave(Outcome)     counts it: forgotten, or one more failure and perhaps a delay
//	Refusals           one line in the log, one event in the audit log
//
// Nothing that a client sees depends on whether an account exists. A stranger who guesses
// can't keep an account's owner out: logins from networks where the owner has logged in
// before are counted apart (homes.go).
//
// Counts of failures are kept in the store. Budgets and turns are kept in memory, and a
// restart clears them. The package never decides who somebody is, and knows no session and
// no token.
package guard

import (
	"net/netip"
	"strings"
	"time"

	"gatehouse/server/ipaddr"
	"gatehouse/storage/record"
)

// Attempt is one login: who is to be let in, from where, and which counts of failures
// stand in its way.
type Attempt struct {
	From netip.Addr

	network   netip.Prefix // see homes.go; the zero value for none
	account   string       // the name of its bucket
	networks  []ipaddr.Network
	forwarded bool // the password goes to a directory, which counts failures too
	begun     time.Time
}

// NewAttempt begins a login with a name and a password that is kept here.
func NewAttempt(username string, from netip.Addr) Attempt {
	return Attempt{
		From:     from,
		network:  networkOf(from),
		account:  accountBucket(username),
		networks: ipaddr.Networks(from),
		begun:    time.Now(),
	}
}

// ToDirectory returns the attempt as one that a directory decides, with a name as it was
// typed for the directory.
func (a Attempt) ToDirectory(username string) Attempt {
	a.account, a.forwarded = nameBucket(username), true
	return a
}

// OfPerson returns the attempt as one of a person whom the directory found, under any
// name. It does not count the address: the original attempt counts that.
func (a Attempt) OfPerson(subject string) Attempt {
	a.account, a.networks = personBucket(subject), nil
	return a
}

// NewProviderAttempt begins a login with a provider's token, which names a mail. Failures
// are counted by address and, within an address, by the mail. From other addresses the
// person is not affected: a token can't be guessed, and knowing somebody's mail must not
// be enough to lock them out.
func NewProviderAttempt(provider, mail string, from netip.Addr) Attempt {
	a := NewAttempt(mail, from)
	a.account = "oauth " + provider + " " + networkBucket(a.networks[0]) + " " + a.account
	a.network = netip.Prefix{} // the account's count is that of an address already
	return a
}

// accountBucket is the name of the count of failures under a name.
func accountBucket(username string) string {
	return "account " + record.Fold(strings.TrimSpace(username))
}

// nameBucket returns the name of the count of failures under a name that was typed for
// the directory. It is the same for all spellings that directories treat as one name:
// they ignore case, width and repeated blanks (RFC 4518).
func nameBucket(username string) string {
	return "ldap " + accountBucket(strings.Join(strings.Fields(username), " "))
}

// personBucket is the name of the count of a person's failures at the directory.
func personBucket(subject string) string { return "ldap person " + subject }

// homeBucket is the name of the count of failures from one network.
func homeBucket(account string, network netip.Prefix) string {
	return account + " from " + network.String()
}

// networkBucket is the name of the count of failures from a network.
func networkBucket(n ipaddr.Network) string {
	if n.Share == 1 {
		return "address " + ipaddr.Text(n.Addr()) // unknown addresses are counted together
	}
	return "network " + n.String()
}

// Outcome is what came of an attempt.
type Outcome int

const (
	Undecided Outcome = iota // the password was not looked at
	Accepted
	Rejected
)
