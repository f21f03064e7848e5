package web

import "time"

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

// Tokens is the page of a user's own tokens.
type Tokens struct {
	UID       string
	Address   string // of this server, for the command line
	Now       time.Time
	List      []Token // those of this page
	Total     int     // on all pages
	Number    int     // of this page, from 1
	Last      int     // the number of the last page
	Lifetimes []Lifetime
	Made      *Made    // the token just made
	Done      *Done    // what was just done to a token
	Name      string   // that was typed for a token that could not be made
	Error     string   // why it could not
	Services  int      // service accounts that the user owns
	Service   *Service // the tokens are those of this service account; nil: the user's own
}

// Path is the path of the page.
func (p Tokens) Path() string {
	if p.Service != nil {
		return p.Service.Path
	}
	return "/"
}

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

// Rotate asks whether to give a token a new secret, or shows the new secret.
type Rotate struct {
	UID      string
	Now      time.Time
	List     string // the path of the page that lists the token
	Number   int    // of the page to go back to
	Overlaps []Lifetime
	Secret   string    // empty: it asks
	Until    time.Time // when the old secret ends; zero: it has ended
	Error    string
	Token
}

// Token is a row of the table.
type Token struct {
	ID, Name, Address, State string
	By                       string // who made it
	Created                  time.Time
	LastUsed, Expires        time.Time // zero: never
	Limits                   []string  // scopes and addresses
}

// Lifetime is a choice of how long a new token lives.
type Lifetime struct {
	Value, Words string
	Chosen       bool
}

// Made is a new token with its secret.
type Made struct {
	Name, Secret string
	Expires      time.Time // zero: never
}

// Done says what was done to a token.
type Done struct {
	What string // "renamed", "revoked"
	ID   string
	Name string
}

// Rename asks for another name of a token.
type Rename struct {
	UID, ID, Name, Error string
	List                 string // the path of the page that lists the token
	Number               int    // of the page to go back to
}

// Revoke asks whether to revoke a token.
type Revoke struct {
	UID    string
	Now    time.Time
	List   string // the path of the page that lists the token
	Number int    // of the page to go back to
	Token
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
func (p Rotate) User() string   { return p.UID }
func (p Rename) User() string   { return p.UID }
func (p Revoke) User() string   { return p.UID }
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

// Ago and Until are for the templates.
func (p Tokens) Ago(t time.Time) Moment   { return ago(p.Now, t) }
func (p Tokens) Until(t time.Time) Moment { return until(p.Now, t) }
func (p Tokens) Day(t time.Time) Moment   { return day(t) }
func (p Revoke) Ago(t time.Time) Moment   { return ago(p.Now, t) }
func (p Revoke) Day(t time.Time) Moment   { return day(t) }
func (p Services) Ago(t time.Time) Moment { return ago(p.Now, t) }
func (p Rotate) Ago(t time.Time) Moment   { return ago(p.Now, t) }
func (p Rotate) In(t time.Time) Moment    { return until(p.Now, t) }
func (p Account) Ago(t time.Time) Moment  { return ago(p.Now, t) }

// Others reports whether there is a session that the page can end.
func (p Account) Others() bool {
	return len(p.List) > 1 || len(p.List) == 1 && !p.List[0].Current
}

// Back and Ahead are the numbers of the pages beside this one, or 0.
func (p Tokens) Back() int { return p.Number - 1 }

// Ahead is the number of the next page, or 0.
func (p Tokens) Ahead() int {
	if p.Number >= p.Last {
		return 0
	}
	return p.Number + 1
}
