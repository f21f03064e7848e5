package server

import (
	"net/netip"
	"strings"
	"time"

	"gatehouse/server/ipaddr"
	"gatehouse/storage"
)

// attempt is one login: who is to be let in, from where, and which counts of failures
// stand in its way.
type attempt struct {
	From netip.Addr

	network   netip.Prefix // see homes.go; the zero value for none
	account   string       // the name of its bucket
	networks  []ipaddr.Network
	forwarded bool // the password goes to a directory, which counts failures too
	begun     time.Time
}

// newAttempt begins a login with a name and a password that is kept here.
func newAttempt(username string, from netip.Addr) attempt {
	return attempt{
		From:     from,
		network:  networkOf(from),
		account:  accountBucket(username),
		networks: ipaddr.Networks(from),
		begun:    time.Now(),
	}
}

// toDirectory returns the attempt as one that a directory decides, with a name as it was
// typed for the directory.
func (a attempt) toDirectory(username string) attempt {
	a.account, a.forwarded = nameBucket(username), true
	return a
}

// ofPerson returns the attempt as one of a person whom the directory found, by whichever
// name. Its address is not counted: the attempt that it is made from counts that.
func (a attempt) ofPerson(subject string) attempt {
	a.account, a.networks = personBucket(subject), nil
	return a
}

// newProviderAttempt begins a login with a provider's token, which names a mail. Failures
// are counted by address and, within an address, by the mail. From other addresses the
// person is not affected: a token can't be guessed, and knowing somebody's mail must not
// be enough to lock them out.
func newProviderAttempt(provider, mail string, from netip.Addr) attempt {
	a := newAttempt(mail, from)
	a.account = "oauth " + provider + " " + networkBucket(a.networks[0]) + " " + a.account
	a.network = netip.Prefix{} // the account's count is that of an address already
	return a
}

// accountBucket is the name of the count of failures under a name.
func accountBucket(username string) string {
	return "account " + storage.Fold(strings.TrimSpace(username))
}

// nameBucket is the name of the count of failures under a name that was typed for the
// directory, in all spellings that directories take for one: they ignore case, width
// and repeated blanks (RFC 4518).
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
		return "address " + ipaddr.Text(n.Addr()) // unknown ones are counted together
	}
	return "network " + n.String()
}

// outcome is what came of an attempt.
type outcome int

const (
	undecided outcome = iota // the password was not looked at
	accepted
	rejected
)
