package web

import (
	"slices"
	"time"
)

// Provider is another site that people can log in by.
type Provider struct{ Name, Title string }

// Login is the page for people who are not logged in.
type Login struct {
	Username, Method, Next string // as they were typed, or chosen
	Local                  bool   // people log in with a password kept here
	Directory              bool   // there is an LDAP directory to log in by
	Providers              []Provider
	Note                   string // what happened
	Error                  string // what went wrong
}

// Tokens is the page of a user's own tokens, or of those of a service account.
type Tokens struct {
	UID      string
	Now      time.Time
	Place             // this page
	Last     int      // the number of the last page
	List     []Token  // those of this page
	Total    int      // on all pages
	Stale    int      // of these, the ones that were not used for a long time
	Sortable bool     // by everything; otherwise only by creation
	Form     *Form    // nil: new tokens can't be made here
	Made     *Made    // the token just made
	Done     *Done    // what was just done to a token
	Address  string   // of this server, for the command line
	Services int      // service accounts that the user owns
	Service  *Service // the tokens are those of this service account; nil: the user's own
}

// Path is the path of the list.
func (p Tokens) Path() string {
	if p.Service != nil {
		return p.Service.Path
	}
	return "/"
}

// Form is the form for a new token, as it was filled in.
type Form struct {
	Name                      string
	Lifetimes                 []Lifetime
	Date, FirstDate, LastDate string // as 2026-12-31
	Known                     []Box  // the scopes that exist
	AnyScope                  bool   // others may be typed
	Scopes, Addresses         string // typed
	From                      string // where the person's request came from; empty: unknown

	Error string            // what went wrong
	Wrong map[string]string // what is wrong with each field
}

// Box is a scope to choose.
type Box struct {
	Field, Value, Words string
	Chosen              bool
}

// Limited reports whether the form shows its limits: something was said there.
func (f Form) Limited() bool {
	return f.Scopes != "" || f.Addresses != "" || f.Wrong["scopes"] != "" || f.Wrong["addresses"] != "" ||
		slices.ContainsFunc(f.Known, func(b Box) bool { return b.Chosen })
}

// First is the name of the first field that is wrong; "name" if the form says only that
// something went wrong.
func (f Form) First() string {
	for _, field := range []string{"name", "expiresIn", "date", "scopes", "addresses"} {
		if f.Wrong[field] != "" {
			return field
		}
	}
	if f.Error != "" {
		return "name"
	}
	return ""
}

// Mark is what a field says about itself when it is wrong.
type Mark struct {
	Field string
	Wrong string // empty: nothing
	First bool   // the person goes on here
}

// Mark returns the mark of a field.
func (f Form) Mark(field string) Mark {
	return Mark{field, f.Wrong[field], f.First() == field}
}

// Lifetime is a choice of how long a new token lives.
type Lifetime struct {
	Value, Words string
	Chosen       bool
}

// Made is a new token with its secret.
type Made struct {
	Token
	Secret  string
	Warning string // about its scopes
}

// Done says what was done to a token.
type Done struct {
	What string // "renamed", "revoked"
	ID   string
	Name string
}

// Asked is what the pages about one token have in common.
type Asked struct {
	UID   string
	Now   time.Time
	Place // that the person came from
}

// Rename asks for another name of a token.
type Rename struct {
	Asked
	Token
	Name, Error string
}

// Revoke asks whether to revoke a token.
type Revoke struct {
	Asked
	Token
	Error string
}

// Rotate asks whether to give a token a new secret, or shows the new secret.
type Rotate struct {
	Asked
	Token
	Overlaps []Lifetime
	Secret   string    // empty: it asks
	Ended    time.Time // when the old secret ends; zero: it has ended
	Error    string
}

// Token is a row of the table.
type Token struct {
	ID, Name, Address, State string
	By                       string // who made it
	Created                  time.Time
	LastUsed, Expires        time.Time // zero: never
	Stale                    bool      // it was not used for a long time
	Scopes, Addresses        Several   // empty: no limit
}

// Several is a list of which a row shows only the first ones at once.
type Several []string

const mostShown = 4

// First are those that are shown.
func (s Several) First() []string {
	if len(s) <= mostShown {
		return s
	}
	return s[:mostShown-1]
}

// More are the others.
func (s Several) More() []string { return s[len(s.First()):] }

// Services is the page of the service accounts that a user owns.
type Services struct {
	UID  string
	Now  time.Time
	List []Service
}

// Service is a service account.
type Service struct {
	UID, Path, Description, Successor, State string

	Tokens   int
	LastUsed time.Time // zero: never
}

// Account is the page of a user's own password and sessions.
type Account struct {
	UID      string
	Now      time.Time
	Password bool      // there is one to change
	List     []Session // the latest first
	Note     string    // what was done
	Error    string    // why the password could not be changed
}

// Session is a browser that is logged in.
type Session struct {
	Address, Agent string // where the login came from; empty: unknown
	Created, Seen  time.Time
	Current        bool // it shows the page
}

// Failure says why there is no other page.
type Failure struct {
	UID    string
	Status string // in words
	Error  string
}

// Onward sends a browser on to a page of ours. The browser then comes from this site and
// sends the SameSite=Strict cookie, which it withholds when another site leads it here.
type Onward struct{ To string }

func (Login) file() string    { return "login.html" }
func (Tokens) file() string   { return "tokens.html" }
func (Rename) file() string   { return "rename.html" }
func (Revoke) file() string   { return "revoke.html" }
func (Account) file() string  { return "account.html" }
func (Services) file() string { return "services.html" }
func (Rotate) file() string   { return "rotate.html" }
func (Failure) file() string  { return "failure.html" }
func (Onward) file() string   { return "onward.html" }

func (Login) Title() string     { return "Log in" }
func (Services) Title() string  { return "Service accounts" }
func (Rotate) Title() string    { return "Rotate a token" }
func (Rename) Title() string    { return "Rename a token" }
func (Revoke) Title() string    { return "Revoke a token" }
func (Account) Title() string   { return "Your account" }
func (p Failure) Title() string { return p.Status }
func (Onward) Title() string    { return "Gatehouse" }

func (Login) User() string      { return "" }
func (p Tokens) User() string   { return p.UID }
func (p Services) User() string { return p.UID }
func (p Asked) User() string    { return p.UID }
func (p Account) User() string  { return p.UID }
func (p Failure) User() string  { return p.UID }
func (Onward) User() string     { return "" }

// Title is the title of the window.
func (p Tokens) Title() string {
	if p.Service != nil {
		return p.Service.UID
	}
	return "Manage API tokens"
}

// These are for the templates.
func (p Tokens) Ago(t time.Time) Moment   { return ago(p.Now, t) }
func (p Tokens) Until(t time.Time) Moment { return until(p.Now, t) }
func (Tokens) Day(t time.Time) Moment     { return day(t) }
func (p Asked) Ago(t time.Time) Moment    { return ago(p.Now, t) }
func (p Asked) Until(t time.Time) Moment  { return until(p.Now, t) }
func (Asked) Day(t time.Time) Moment      { return day(t) }
func (p Services) Ago(t time.Time) Moment { return ago(p.Now, t) }
func (p Account) Ago(t time.Time) Moment  { return ago(p.Now, t) }

// Others reports whether there is a session that the page can end.
func (p Account) Others() bool {
	return len(p.List) > 1 || len(p.List) == 1 && !p.List[0].Current
}

// Previous and Next are the numbers of the pages beside this one, or 0.
func (p Tokens) Previous() int { return p.Number - 1 }

// Next is the number of the next page, or 0.
func (p Tokens) Next() int {
	if p.Number >= p.Last {
		return 0
	}
	return p.Number + 1
}
