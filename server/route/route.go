// Package route says what a route is: one struct that tells everything about a URL of
// the server, so that no other table has to be read to know who may call it and how it
// fails. The packages that own handlers list their routes; package server and package
// admin put them together.
//
// A request passes:
//
//	Handler            finds the route, or answers 404 or 405
//	authenticate       in package server: from the credential to a [Caller]
//	Route.Serve        the handler
//	Route.Fail         what the client gets if that returned an error
//
// This package never decides who a caller is, and never writes a reply itself.
package route

import (
	"net/http"
	"net/netip"
	"path"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// Route is one URL.
type Route struct {
	Pattern string     // the method and the path, as http.ServeMux reads them; without a method: any
	Who     Credential // what a request must bring
	Scope   string     // what a token with scopes must have: one of them, AnyScope or NoScope
	Role    api.Role   // on the socket: the least role that may call it
	Except  api.Role   // a role above that which still may not
	GetOnly bool       // a GET that changes something: HEAD, which net/http would serve as well, gets 405
	Fail    Failure    // how an error is shown
	Class   Class      // in the metrics
	Serve   func(http.ResponseWriter, *Request) error
}

// Name is what logs and metrics call the route: the pattern without what only the mux
// reads.
func (rt Route) Name() string { return strings.TrimSuffix(rt.Pattern, "{$}") }

// Credential is what a route asks of a request.
type Credential int

const (
	Nobody   Credential = iota // no credential is looked at
	ByToken                    // an API access token
	ByCookie                   // the login cookie
	ByEither                   // the token, or else the cookie
	ByGate                     // the token, also as the password of HTTP Basic
	ByPeer                     // nothing: on the socket, the process at the other end counts
)

// The scopes of routes, besides those that a token can name.
const (
	NoScope  = ""  // only a token without scopes
	AnyScope = "*" // every token
)

// Failure is how the error of a route is shown. Package server has a function for each.
type Failure int

const (
	AsJSON       Failure = iota // {"error":"…"}
	AsPage                      // a page; without credentials, the login
	ByAccept                    // a page for browsers, JSON for programs
	AsJSONOrIn                  // JSON; but a person who is not logged in is taken to the login and back
	AsSCIM                      // as RFC 7644 has it
	AsGateAnswer                // 401 or 403, for any error
)

// Class is what a route is for. The metrics of how long requests take have one series
// for each class.
type Class string

const (
	Gate   Class = "gate"   // verifications, for reverse proxies
	Login  Class = "login"  // logins and sessions, which may wait for a password's hash
	Tokens Class = "tokens" // the user's tokens
	Files  Class = "files"  // recent files
	SCIM   Class = "scim"   // what providers say of their people
	Page   Class = "page"   // the web page
	Health Class = "health" // for monitoring
	Admin  Class = "admin"  // the administration on the socket
)

// Request is a request with what the server knows about it.
type Request struct {
	*http.Request
	From netip.Addr // the client; the zero Addr: unknown
	Caller
	Bearer storage.Bearer // what Caller.Token points to: one allocation for both
}

// Caller is who sent a request. At most one of Token and Session is set.
type Caller struct {
	User          Principal
	Token         *storage.Bearer
	Session       *storage.Session
	SessionCookie string
	Peer          string   // who administers on the socket; such a caller is not a user
	Role          api.Role // of the peer
}

// Principal is the user that a request speaks for.
type Principal struct {
	ID  storage.UserID
	UID string
}

// Limited reports whether the credential may do less than its user.
func (c Caller) Limited() bool { return c.Token != nil && c.Token.Limited() }

// Limits returns the token, if the request came with one that is itself limited, and else
// nil.
func (c Caller) Limits() *storage.Token {
	if c.Token == nil || c.Token.Token == nil || !c.Token.Token.Limited() {
		return nil
	}
	return c.Token.Token
}

// Scopes returns the scopes of the token. Without any, scopes do not limit the request.
func (c Caller) Scopes() []string {
	if t := c.Limits(); t != nil {
		return t.Scopes
	}
	return nil
}

// ActorOf names a user in the audit log, with the address of the request.
func (r *Request) ActorOf(uid string) storage.Actor {
	return storage.Actor{Name: uid, Address: ipaddr.Text(r.From)}
}

// Actor names the caller in the audit log.
func (r *Request) Actor() storage.Actor {
	if r.Peer != "" {
		return storage.Actor{Name: r.Peer}
	}
	return r.ActorOf(r.User.UID)
}

// Handler serves the routes. The function handler makes the handler of a route. The
// function fail answers a request for which there is no route (404), or none of its
// method (405, with Allow).
func Handler(routes []Route, handler func(Route) http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		h := handler(rt)
		if rt.GetOnly {
			h = onlyGET(h, fail)
			mux.Handle(strings.TrimPrefix(rt.Pattern, http.MethodGet+" "), h)
		}
		mux.Handle(rt.Pattern, h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !clean(r.URL.EscapedPath()) {
			fail(w, r, reply.ErrNoRoute) // the mux would redirect, and a POST would lose its body
			return
		}
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		var none refusal
		h.ServeHTTP(&none, r)
		if none.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", none.Header().Get("Allow"))
			fail(w, r, reply.ErrMethod)
			return
		}
		fail(w, r, reply.ErrNoRoute)
	})
}

// clean reports whether a path has no empty, "." or ".." element. It may end with a slash.
func clean(p string) bool {
	return p == "/" || strings.HasPrefix(p, "/") && p != "//" && path.Clean(p) == strings.TrimSuffix(p, "/")
}

func onlyGET(next http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			fail(w, r, reply.ErrMethod)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refusal keeps what the mux says when it has no route.
type refusal struct {
	header http.Header
	status int
}

func (w *refusal) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

func (w *refusal) WriteHeader(status int)      { w.status = status }
func (w *refusal) Write(b []byte) (int, error) { return len(b), nil }
