// Package api is what Gatehouse says on the wire: the JSON types of the
// documented API and of the administration over the unix socket, and the
// Client that the terminal UI and the command line use for the latter.
//
// The package never imports another package of ours, so its users see no store.
// Token has no field for a secret. The API hands out a token's secret only in the
// replies LoginToken, NewToken and DocumentedToken. All times are milliseconds since 1970
// (UTC) unless a field's comment says otherwise.
package api

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Never is the expiresOn of a token that does not expire. It is the largest timestamp of
// the platform that first served the API; clients now compare with it literally.
const Never = "292278994-08-17T07:12:55.807Z"

// The states of a user and of a token.
const (
	StateActive    = "active"    // a user who may log in
	StateDisabled  = "disabled"  // a user stopped by an administrator
	StateSuspended = "suspended" // a user stopped by a directory or a provider; a token of a disabled or suspended user
	StateLive      = "live"      // a token that works
	StateExpired   = "expired"   // a token past its expiresOn
	StateRotated   = "rotated"   // a secret that a rotation of its token has ended
	StateUnknown   = "unknown"   // a token that was made here, but is not in the store
	StateRevoked   = "revoked"   // a token that will never work again
)

// StateUnverified selects active users whose provider can't be asked about them any more.
// They are suspended unless they log in.
const StateUnverified = "unverified"

// User is a user as administrators see it.
type User struct {
	UID      string `json:"uid"`
	Name     string `json:"name"`
	Source   string `json:"source"` // local, ldap, or a provider's name
	State    string `json:"state"`  // StateActive, StateDisabled or StateSuspended
	Created  int64  `json:"created"`
	Tokens   int    `json:"tokens"`             // live and expired ones, not the revoked
	Stale    int    `json:"stale"`              // of these, the ones unused for StaleAfter
	LastUsed int64  `json:"lastUsed"`           // of the user's tokens, the latest; 0: none was ever used
	Orphaned bool   `json:"orphaned,omitempty"` // a service account that nobody owns
}

// UserDetail is everything known about one user, except the tokens.
type UserDetail struct {
	User
	Identities []Identity `json:"identities"` // in the order in which they were added; a local account has none
	Days       []int64    `json:"days"`       // the uses of all tokens per day, as in TokenDetail.Days

	LoginDelay *LoginDelay `json:"loginDelay,omitempty"` // nil: the user may log in
	Service    *Answering  `json:"service,omitempty"`    // nil: it is not a service account
	Rechecks   []Asked     `json:"rechecks,omitempty"`   // what came of asking providers again
	Sessions   []Session   `json:"sessions,omitempty"`   // browsers that are logged in, the latest first
}

// Asked says what came of asking a provider about a user. Times are in ms; 0: never.
type Asked struct {
	Source   string `json:"source"`
	Subject  string `json:"subject"`
	Asked    int64  `json:"asked"`
	Answered int64  `json:"answered"`        // the last time the provider said something, at a login too
	Left     string `json:"left,omitempty"`  // why the provider no longer lets the person in
	Since    int64  `json:"since,omitempty"` // since when the user is unverified
	Doubt    string `json:"doubt,omitempty"` // why
}

// LoginDelay says that a user's logins are refused for now, because of bad passwords.
type LoginDelay struct {
	Failures int   `json:"failures"` // in a row
	Until    int64 `json:"until"`    // ms
}

// StaleAfter is how long a token goes unused before the screens call it stale.
const StaleAfter = 90 * 24 * time.Hour

// Cursor names the user's place in a listing of that order, for UserQuery.After.
func (u User) Cursor(o Order) string {
	switch o {
	case ByCreated:
		return strconv.FormatInt(u.Created, 10) + " " + u.UID
	case ByLastUsed:
		return strconv.FormatInt(u.LastUsed, 10) + " " + u.UID
	case ByTokens:
		return strconv.Itoa(u.Tokens) + " " + u.UID
	}
	return u.UID
}

// Order is what a listing is sorted by; the zero value is the usual one, ByUID
// for users and ByLastUsed for tokens.
type Order string

// The orders. Equal rows are in the order of their uid, or id.
const (
	ByUID      Order = "uid"    // of users
	ByTokens   Order = "tokens" // of users: how many they hold
	ByLastUsed Order = "lastUsed"
	ByCreated  Order = "created"
)

// OwnToken is a token as GET /api/token and GET /api/tokens show it to the holder
// of one: what it is and may do, and not where its user sits, because a thief
// would like to know that.
type OwnToken struct {
	ID        string   `json:"id"`
	UID       string   `json:"uid"`
	Name      string   `json:"name"`
	Created   int64    `json:"created"`
	LastUsed  int64    `json:"lastUsed"`  // equals Created until the first use
	ExpiresOn string   `json:"expiresOn"` // RFC 3339 with milliseconds, or Never
	Scopes    []string `json:"scopes"`    // empty: no limit
	Addresses []string `json:"addresses"` // CIDR prefixes; empty: from anywhere
}

// Session is a browser that is logged in.
type Session struct {
	Created  int64  `json:"created"`
	LastUsed int64  `json:"lastUsed"` // to the minute
	Method   string `json:"method"`   // what checked the login: userpass, ldap or a provider
	Address  string `json:"address"`  // where the login came from
	Agent    string `json:"agent"`    // what the browser called itself then
	Current  bool   `json:"current"`  // this session sent the request
}

// Token is a token without its secret.
type Token struct {
	ID          string   `json:"id"`
	UID         string   `json:"uid"`
	Name        string   `json:"name"`
	Created     int64    `json:"created"`
	LastUsed    int64    `json:"lastUsed"` // equals Created until the first use
	LastAddress string   `json:"lastAddress"`
	Uses        int64    `json:"uses"`      // how many requests it authenticated
	ExpiresOn   string   `json:"expiresOn"` // RFC 3339 with milliseconds, or Never
	State       string   `json:"state"`     // StateLive, StateExpired, StateRevoked or StateSuspended
	Scopes      []string `json:"scopes"`    // empty: no limit
	Addresses   []string `json:"addresses"` // CIDR prefixes; empty: from anywhere

	CreatedBy string `json:"createdBy,omitempty"` // the actor of its creation, for administrators; empty: not known
}

// Used reports whether the token has ever authenticated a request.
func (t Token) Used() bool { return t.LastUsed > t.Created }

// Cursor names the token's place in a listing of that order, for
// TokenQuery.After.
func (t Token) Cursor(o Order) string {
	at := t.LastUsed
	if o == ByCreated {
		at = t.Created
	}
	return strconv.FormatInt(at, 10) + "." + t.ID
}

// TokenDetail is everything known about one token, except its events.
type TokenDetail struct {
	Token
	Days []int64    `json:"days"` // uses a day (UTC), 30 of them, the oldest first, today the last
	Seen []SeenFrom `json:"seen"` // the newest five addresses, the latest first
}

// SeenFrom is an address that a token was used from.
type SeenFrom struct {
	Address string `json:"address"`
	Agent   string `json:"agent"` // what the client calls itself, cut to 100 bytes
	Time    int64  `json:"time"`  // the latest use from there, ms
}

// DocumentedToken is an element of the reply to GET /api/getApiTokens.
type DocumentedToken struct {
	Token
	APIToken string `json:"apiToken"` // in full, or masked
}

// LoginToken is the reply to POST /api/authenticate/….
type LoginToken struct {
	Secret    string `json:"token"`
	ExpiresOn string `json:"expiresOn"` // RFC 3339 with milliseconds, or Never
}

// NewToken is the reply that hands out a token, once.
type NewToken struct {
	Secret    string `json:"token"`
	ExpiresOn string `json:"expiresOn"`
	ID        string `json:"id"`
	UID       string `json:"uid"`
	Name      string `json:"name"`
	Created   int64  `json:"created"`
	Warning   string `json:"warning,omitempty"` // about scopes that look mistyped
}

// Introspection is what RFC 7662 says of a token; the zero value of one that is
// not active. Times are in seconds.
type Introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	Username  string `json:"username,omitempty"`
	Subject   string `json:"sub,omitempty"`
	ID        string `json:"jti,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
}

// RecentFile is a file that a user opened.
type RecentFile struct {
	ID        any    `json:"id"` // a string or a number, as it was sent
	Name      string `json:"name"`
	TimeStamp int64  `json:"timeStamp"`
	Revision  any    `json:"revision"` // a string or a number, as it was sent
	Path      string `json:"path"`
}

// NewUser asks for a local user.
type NewUser struct {
	UID      string `json:"uid"`
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"` // empty: the server makes one and returns it
}

// Password sets a password, or returns the new one.
type Password struct {
	Password string `json:"password,omitempty"`
	Unusable bool   `json:"unusable,omitempty"` // in a reply: nobody can log in with a password kept here
}

// TokenRequest asks for a token on behalf of a user.
type TokenRequest struct {
	UID       string   `json:"uid"`
	Name      string   `json:"name,omitempty"`
	ExpiresIn string   `json:"expiresIn,omitempty"` // "720h", "90d"; empty: the default lifetime
	Scopes    []string `json:"scopes,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

// Rotation asks for a new secret of a token.
type Rotation struct {
	Overlap string `json:"overlap,omitempty"` // how long the old secret also works, at most: "24h", the default, or "0"
	Hold    bool   `json:"hold,omitempty"`    // longer: the old secret works until the caller asks again without Hold
}

// TokenName is the new name of a token.
type TokenName struct {
	Name string `json:"name"`
}

// UserQuery selects users, ascending by Order unless Reverse.
type UserQuery struct {
	Filters Filters // by UserFilters
	Words   string  // more filters, as the terminal's query line has them
	Order   Order
	Reverse bool
	After   string // the Cursor of the last user already seen, in this direction
	Limit   int    // 0: all
}

// TokenQuery selects tokens, ascending by Order unless Reverse: the oldest
// LastUsed first.
type TokenQuery struct {
	Filters Filters // by TokenFilters
	Words   string  // more filters, as the terminal's query line has them
	At      int64   // ms: what spans are counted from; 0: now
	Revoked bool    // the revoked ones too, which is slow without the filter user; or with the filter state
	Order   Order
	Reverse bool
	After   string // the Cursor of the last token already seen, in this direction
	Limit   int    // 0: all
}

// Count is how many rows a query has, without its Limit and After.
type Count struct {
	Rows int `json:"rows"`
}

// Matching is what a BulkRevocation of a query would revoke at a moment.
type Matching struct {
	Rows int    `json:"rows"`
	Set  string `json:"set"` // tells it from any other set of tokens
	At   int64  `json:"at"`  // ms
}

// Revocation names tokens to revoke by ID, or by an unambiguous prefix of an ID of at
// least 8 characters.
type Revocation struct {
	IDs []string `json:"ids"`
}

// MostRevoked is how many tokens are revoked together: if a Revocation of no more fails,
// none of them is revoked. Of a longer one, the first may be.
const MostRevoked = 64

// Revoked is the answer to a Revocation. Tokens that were already revoked are not
// counted, and are not an error.
type Revoked struct {
	Revoked int `json:"revoked"`
}

// BulkRevocation asks to revoke all the live, expired and suspended tokens that match. It
// must have at least one filter.
type BulkRevocation struct {
	Filters Filters `json:"filters,omitempty"`
	Words   string  `json:"words,omitempty"`

	// The set that the user agreed to: if others match, the answer is 409. Empty: revoke
	// all that match.
	Set string `json:"set,omitempty"`
	At  int64  `json:"at,omitempty"`
}

// Progress tells how far a bulk revocation is. The tokens that it counts are durably
// revoked.
type Progress struct {
	Job     string `json:"job"` // the name of the job, to stop it
	Total   int    `json:"total"`
	Revoked int    `json:"revoked"`
	Done    bool   `json:"done"`    // nothing follows
	Stopped bool   `json:"stopped"` // with Done: it was stopped before the end
}

// Texts are what may be tokens: at most MaxTexts of them.
type Texts struct {
	Texts []string `json:"texts"`
}

// MaxTexts is how many texts go into one question.
const MaxTexts = 100

// Identified answers for Texts, in their order.
type Identified struct {
	Tokens []Sighting `json:"tokens"`
}

// Sighting says what one text is. The zero value means that it is not a token of this
// installation.
type Sighting struct {
	ID    string `json:"id"`
	State string `json:"state"` // as of a Token, StateRotated or StateUnknown
}

// NoRoute is the message of the error for a path that the server does not know.
const NoRoute = "There is nothing at this address"

// Finds are tokens that a scan found and that are to be revoked: at most MaxFinds of
// them.
type Finds struct {
	Finds []Find `json:"finds"`
}

// MaxFinds is how many tokens are revoked at a time because they were found.
const MaxFinds = 50

// Find is a token that was found.
type Find struct {
	Token string `json:"token"`
	Place string `json:"place"` // such as "config/.env:12", for the audit log; at most MaxPlace bytes
}

// MaxPlace is how long a place may be, in bytes.
const MaxPlace = 300

// Error is a refusal by the server. Message is one sentence for people.
type Error struct {
	Status  int    `json:"-"` // the HTTP status
	Message string `json:"error"`
}

func (e *Error) Error() string { return e.Message }

// Refused reports whether err is a refusal by the server with that HTTP status.
func Refused(err error, status int) bool {
	refusal := new(Error)
	return errors.As(err, &refusal) && refusal.Status == status
}

// UnreachableError says that no server answered on the socket.
type UnreachableError struct {
	Socket string // empty: none was tried
	Err    error
}

func (e *UnreachableError) Error() string {
	if e.Socket == "" {
		return fmt.Sprintf("no server is running: %v", e.Err)
	}
	return fmt.Sprintf("no server answers on %s: %v", e.Socket, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }
