package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"gatehouse/server/access"
	"gatehouse/server/api"
	"gatehouse/server/login"
	"gatehouse/server/metrics"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/scim"
	"gatehouse/server/site"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// failure returns the function that answers with an error in the way that a route asks
// for. All of them find the status, the message and the headers with refusal.
func (s *Server) failure(how route.Failure) func(http.ResponseWriter, *http.Request, error) {
	switch how {
	case route.AsPage:
		return s.failPage
	case route.ByAccept:
		return s.failByAccept
	case route.AsSCIM:
		return s.failSCIM
	case route.AsJSONOrIn:
		return s.failUnlessToLogin
	}
	return s.fail
}

// fail answers with an error as JSON.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, message := s.refusal(w, r, err)
	reply.JSON(w, status, api.Error{Message: message})
}

// failSCIM answers with an error in the form of SCIM.
func (s *Server) failSCIM(w http.ResponseWriter, r *http.Request, err error) {
	status, message := s.refusal(w, r, err)
	scim.Fail(w, status, message, err)
}

// failPage answers with an error as a page: for a lack of credentials, with the
// login.
func (s *Server) failPage(w http.ResponseWriter, r *http.Request, err error) {
	status, message := s.refusal(w, r, err)
	if status == http.StatusUnauthorized {
		err = s.site.Nobody(w, r, message)
	} else {
		err = s.pages.Write(w, status, web.Failure{UID: s.whose(r), Status: http.StatusText(status), Error: message + "."})
	}
	if err != nil && !reply.Gone(r, err) {
		s.log.Error("request failed", "route", r.Pattern, "error", err)
	}
	if err != nil {
		reply.JSON(w, http.StatusInternalServerError, api.Error{Message: reply.Internal})
	}
}

// failByAccept answers a browser with a page, and programs with JSON; Vary keeps
// caches from giving the one to the other.
func (s *Server) failByAccept(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Add("Vary", "Accept")
	if route.WantsPage(r) {
		s.failPage(w, r, err)
		return
	}
	s.fail(w, r, err)
}

// failOutside answers a request that no route serves. Below /api errors are JSON for
// browsers too, as documented.
func (s *Server) failOutside(w http.ResponseWriter, r *http.Request, err error) {
	if login.Beneath(r.URL.Path, "/api") {
		s.fail(w, r, err)
		return
	}
	if login.Beneath(r.URL.Path, scim.Path) {
		s.failSCIM(w, r, err)
		return
	}
	s.failByAccept(w, r, err)
}

// failUnlessToLogin takes a person who is not logged in to the login, and from
// there back here. A script, a prefetch and a link on another site get the error.
func (s *Server) failUnlessToLogin(w http.ResponseWriter, r *http.Request, err error) {
	next := login.LocalPath(r.URL.RequestURI())
	if status, _ := reply.Status(err); status != http.StatusUnauthorized || next == "" || !s.person(r) {
		s.fail(w, r, err)
		return
	}
	site.SeeOther(w, "/?next="+url.QueryEscape(next))
}

// person reports whether somebody came here with a browser, of their own accord and
// without a token.
func (s *Server) person(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	return route.WantsPage(r) && (mode == "" || mode == "navigate") && (dest == "" || dest == "document") &&
		len(route.TokensOf(r)) == 0 && !route.AheadOfNeed(r) && !route.FromElsewhere(r, s.origins)
}

// refusal returns what the client is told about an error, and sets the headers that
// belong to it. It logs an error of ours; the client learns nothing about that.
func (s *Server) refusal(w http.ResponseWriter, r *http.Request, err error) (status int, message string) {
	status, message = reply.Status(err)
	if status >= http.StatusInternalServerError && !passing(err) && !reply.Gone(r, err) && !s.watch.covers(err) {
		s.log.Error("request failed", "route", r.Pattern, "error", err, "request_id", access.ID(w)) // a path may hold a token
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized && message == reply.ErrCredentials.Error() {
		h.Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
	}
	if e, ok := errors.AsType[*reply.Error](err); ok && e.Retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.Retry+time.Second-1)/time.Second)))
	}
	return status, reply.Sentence(message)
}

// passing reports whether an error of 500 or more needs no action by an operator: it passes
// by itself, is only the client's word, or is already reported.
func passing(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrOpening) || errors.Is(err, storage.ErrClosed) || errors.Is(err, oauth.ErrNotNow) || told(err)
}

// whose returns the uid for a page with an error that came before, or without,
// authentication. It authenticates as all pages do: for another site's form, or a request
// with a token, the page shows nobody.
func (s *Server) whose(r *http.Request) string {
	c, err := s.authenticate(&route.Request{Request: r}, route.ByCookie)
	if err != nil {
		return ""
	}
	return c.User.UID
}

// cutOff ends a reply that has begun by breaking the connection. Nothing else can tell
// the client that the reply is incomplete.
func (s *Server) cutOff(r *http.Request, err error) {
	if !errors.Is(err, context.Canceled) { // the client went away
		s.log.Error("a reply ended early", "route", r.Pattern, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// recovered answers for a handler that panicked. The caller defers it.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.metrics.Panicked(cmp.Or(r.Pattern, metrics.NoRoute))
	s.log.Error("panic", "route", r.Pattern, "request_id", access.ID(w), "panic", p, "stack", string(debug.Stack()))
	reply.JSON(w, http.StatusInternalServerError, api.Error{Message: reply.Internal})
}
