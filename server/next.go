package server

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// localPath returns where to go on after a login if that is a path of this
// server, and else nothing: a link to the login must not end elsewhere (CWE-601).
//
// Browsers read "//host", "/\host" and "/<tab>/host" as another site, since
// they take a backslash for a slash and leave out tabs and line feeds (WHATWG
// URL, section 4.4).
func localPath(next string) string {
	const longest = 1024
	if len(next) > longest || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return ""
	}
	if strings.ContainsFunc(next, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }) {
		return ""
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" {
		return ""
	}
	return next
}

var errNext = refuse(http.StatusBadRequest, "next is a path on this server, such as /?x=1")

// nextPath reads where to go after a login. The API is no page, and a GET of it
// can do something: instead of there it leads home.
func nextPath(rawQuery string) (string, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil || len(query["next"]) > 1 {
		return "", errNext
	}
	if query.Get("next") == "" {
		return "/", nil
	}
	next := localPath(query.Get("next"))
	u, err := url.Parse(next)
	if next == "" || err != nil {
		return "", errNext
	}
	if beneath(u.Path, "/api") || beneath(u.Path, "/login") || beneath(u.Path, "/logout") {
		return "/", nil
	}
	return next, nil
}

// beneath reports whether a path is a tree or in it, in whatever spelling.
func beneath(p, tree string) bool {
	p = strings.ToLower(path.Clean(p))
	return p == tree || strings.HasPrefix(p, tree+"/")
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
