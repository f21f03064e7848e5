package server

import (
	"cmp"
	"context"
	"errors"
	"gatehouse/server/api"
	"gatehouse/server/web"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// failOutside answers where there is no route. The API's errors are JSON whoever
// asks, for so it is documented.
func (s *Server) failOutside(w http.ResponseWriter, r *http.Request, err error) {
	if beneath(r.URL.Path, "/api") {
		s.fail(w, r, err)
		return
	}
	s.failToBrowser(w, r, err)
}

// failToBrowser answers with an error to whoever asked: a browser gets a page,
// which no cache may then give to a program.
func (s *Server) failToBrowser(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Add("Vary", "Accept")
	if wantsPage(r) {
		s.failPage(w, r, err)
		return
	}
	s.fail(w, r, err)
}

func wantsPage(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// failUnlessToLogin sends a browser that is not logged in to the login, and
// from there back here, if it is a person who came here with it. A script, a
// prefetch and a link on another site get the error.
func (s *Server) failUnlessToLogin(w http.ResponseWriter, r *http.Request, err error) {
	next := localPath(r.URL.RequestURI())
	if status, _ := statusOf(err); status != http.StatusUnauthorized || next == "" || !s.person(r) {
		s.fail(w, r, err)
		return
	}
	seeOther(w, "/?next="+url.QueryEscape(next))
}

// person reports whether somebody went here with a browser.
func (s *Server) person(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	return wantsPage(r) && (mode == "" || mode == "navigate") && (dest == "" || dest == "document") &&
		len(tokensOf(r, false)) == 0 && !aheadOfNeed(r) && !s.fromElsewhere(r)
}

// typedIn are the routes that people go to with a browser, although what they
// get is no page: who is not logged in is taken to the login, and back.
var typedIn = map[string]bool{
	"GET /api/createApiToken": true,
}

// byBrowser are the routes by which people come and go that log in by a
// provider: what goes wrong there, a browser gets as a page.
var byBrowser = map[string]bool{
	"GET /login/{provider}":          true,
	"GET /login/{provider}/callback": true,
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, message := s.refusal(w, r, err)
	reply(w, status, api.Error{Message: message})
}

// refusal is what a client is told of an error. It sets the headers that go
// with it, and logs what the client is not told.
func (s *Server) refusal(w http.ResponseWriter, r *http.Request, err error) (status int, message string) {
	status, message = statusOf(err)
	if status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.log.Error("request failed", "route", r.Pattern, "error", err) // a path may hold a token
	}
	h := w.Header()
	h.Del("Cache-Control")
	if status == http.StatusUnauthorized && message == errCredentials.Error() {
		h.Set("WWW-Authenticate", `Bearer realm="gatehouse"`)
	}
	if e, ok := errors.AsType[*httpError](err); ok && e.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.retry+time.Second-1)/time.Second)))
	}
	return status, sentence(message)
}

// sentence begins with a capital.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// recovered answers for a handler that panicked.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	s.metrics.requests.WithLabelValues(cmp.Or(r.Pattern, noRoute), "5xx").Inc()
	s.log.Error("panic", "route", r.Pattern, "panic", p, "stack", string(debug.Stack()))
	reply(w, http.StatusInternalServerError, api.Error{Message: "Internal error"})
}

// failPage answers with an error to a person.
func (s *Server) failPage(w http.ResponseWriter, r *http.Request, err error) {
	status, message := s.refusal(w, r, err)
	if status == http.StatusUnauthorized {
		err = s.pageForNobody(w, r, message)
	} else {
		err = s.pages.Write(w, status, web.Failure{UID: s.whose(r), Status: http.StatusText(status), Error: message + "."})
	}
	if err != nil {
		s.log.Error("request failed", "route", r.Pattern, "error", err)
		reply(w, http.StatusInternalServerError, api.Error{Message: "Internal error"})
	}
}

// whose is the uid that a page shows when something went wrong before, or
// without, its being known who asks: found by the same way as for all pages, so
// that another site's form and a request with a token show nobody.
func (s *Server) whose(r *http.Request) string {
	c, err := s.authenticate(&request{Request: r}, byCookie)
	if err != nil {
		return ""
	}
	return c.user.UID
}

// pageForNobody is for who has to log in first, or has tried to.
func (s *Server) pageForNobody(w http.ResponseWriter, r *http.Request, message string) error {
	if message != errCredentials.Error() {
		return s.showLogin(w, http.StatusUnauthorized, web.Login{Error: message + "."})
	}
	if s.ledHere(r) {
		return s.pages.Write(w, http.StatusUnauthorized, onward(r))
	}
	page := web.Login{Note: "Log in to go on."}
	if r.Method == http.MethodGet {
		page.Next = localPath(r.URL.RequestURI())
	}
	return s.showLogin(w, http.StatusUnauthorized, page)
}
