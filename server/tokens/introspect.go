package tokens

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// scopeIntrospect is the scope that lets a token ask about other users' tokens.
const scopeIntrospect = "introspect"

// introspect serves POST /api/introspect (RFC 7662): what a token is, for those who
// hold it. It counts no use.
//
// A token of another user is shown only to a token that was given the scope. Others
// get the answer for text that is not a token (section 2.2), so that a thief can't try
// out what was stolen. Both leave an event that the owner and administrators can find.
func (ts *Tokens) introspect(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request, "token")
	if err != nil {
		return err
	}
	from, err := presentedFrom(r, fields)
	if err != nil {
		return err
	}
	answer, err := ts.introspection(r, fields["token"], from)
	if status, _ := reply.Status(err); err != nil && status >= http.StatusInternalServerError {
		return err
	}
	return reply.OK(w, answer, nil)
}

// presentedFrom returns the address that the token came from: the field address, if the
// caller passes on the address of its own client (RFC 7662, section 2.1), or else the
// caller's.
func presentedFrom(r *route.Request, fields map[string]string) (netip.Addr, error) {
	text, passed := fields["address"]
	if !passed {
		return r.From, nil
	}
	from, err := ipaddr.Parse(text)
	if err != nil {
		return from, reply.Refuse(http.StatusBadRequest, "address: %q is not an IP address", text)
	}
	return from, nil
}

// introspection returns what the caller is told about a token. With an error that is not
// the server's own, the caller is told nothing.
func (ts *Tokens) introspection(r *route.Request, text string, from netip.Addr) (none api.Introspection, err error) {
	b, err := ts.Store.Inspect(text, from)
	if err != nil {
		return none, err
	}
	if b.Owner != r.User.ID {
		given := slices.Contains(r.Scopes(), scopeIntrospect)
		ts.noteLookup(r, b, given)
		if !given {
			return none, nil
		}
	}
	t, err := ts.Store.Token(b.ID)
	if err != nil {
		return none, err
	}
	return api.Introspection{
		Active: true, Scope: strings.Join(t.Scopes, " "), Username: b.UID, Subject: b.UID, ID: t.ID.String(),
		TokenType: "Bearer", IssuedAt: ts.Store.Past(t.Created) / 1000, Expires: t.Ends() / 1000,
	}, nil
}

// noteLookup notes in the audit log that somebody asked about a token of another user.
func (ts *Tokens) noteLookup(r *route.Request, b storage.Bearer, given bool) {
	e := storage.Event{Action: storage.ActionTokenIntrospect, UID: b.UID, Token: b.ID.String()}
	if !given {
		e.Detail = "refused: without the scope introspect"
	}
	switch ts.lookups.note(r.User.ID, looked{b.ID, given}) {
	case lookupFirst:
		ts.Store.Note(r.Actor(), e)
	case lookupTooMany:
		ts.Store.Note(r.Actor(), storage.Event{
			Action: storage.ActionTokenIntrospect, UID: r.User.UID, Detail: "more tokens than are recorded in an hour",
		})
	}
}

// lookups prevents a service that asks about a token at each request from filling the audit
// log. In an hour, it lets each user write one event for each token (a refused lookup and
// an answered one count separately), up to mostLookups, and then one more event that says
// so.
type lookups struct {
	now   func() time.Time
	began time.Time // hours are counted from here, by the monotonic clock

	mu   sync.Mutex
	hour int64
	seen map[storage.UserID]map[looked]bool // in this hour, by who asked
}

// looked is a token that was asked about, and whether the answer was given.
type looked struct {
	id    storage.ID
	given bool
}

const mostLookups = 1000

// lookup says which event a lookup writes.
type lookup int

const (
	lookupKnown   lookup = iota // nothing
	lookupFirst                 // an event
	lookupTooMany               // that the user has asked about too many
)

func (l *lookups) note(by storage.UserID, about looked) lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	if hour := int64(l.now().Sub(l.began) / time.Hour); hour != l.hour || l.seen == nil {
		l.hour, l.seen = hour, make(map[storage.UserID]map[looked]bool)
	}
	mine := l.seen[by]
	switch {
	case mine[about] || len(mine) > mostLookups:
		return lookupKnown
	case mine == nil:
		mine = make(map[looked]bool)
		l.seen[by] = mine
	}
	mine[about] = true
	if len(mine) > mostLookups {
		return lookupTooMany
	}
	return lookupFirst
}

// revokePosted serves POST /api/revoke (RFC 7009). Any holder of a token may revoke
// it, and revoking an unknown token is not an error (section 2.2).
func (ts *Tokens) revokePosted(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request, "token")
	if err != nil {
		return err
	}
	return reply.OK(w, struct{}{}, ts.revokeTexts(r, fields["token"]))
}
