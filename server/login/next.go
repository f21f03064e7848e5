package login

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"gatehouse/server/reply"
)

// LocalPath returns next, where to go after a login, if that is a path of this
// server, and else "": a link to the login must not lead to another site (CWE-601).
//
// Browsers read "//host", "/\host" and "/<tab>/host" as another site, since
// they take a backslash for a slash and leave out tabs and line feeds (WHATWG
// URL, section 4.4).
func LocalPath(next string) string {
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

var errNext = reply.Refuse(http.StatusBadRequest, "next: write a path on this server, such as /?x=1")

// nextPath reads from a query where to go after a login by a provider. It never leads to
// the login itself. It leads to the API, where a GET may change something, only if the
// person began at our login page. A link on another site can log somebody in without a
// click; such a login leads home.
func nextPath(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["next"]) > 1 {
		return "", errNext
	}
	if query.Get("next") == "" {
		return "/", nil
	}
	next := LocalPath(query.Get("next"))
	u, err := url.Parse(next)
	if next == "" || err != nil {
		return "", errNext
	}
	ours := r.Header.Get("Sec-Fetch-Site") == "same-origin"
	if Beneath(u.Path, "/login") || Beneath(u.Path, "/logout") || inAPI(next) && !ours {
		return "/", nil
	}
	return next, nil
}

// inAPI reports whether a path that LocalPath has returned leads to the API.
func inAPI(next string) bool {
	u, err := url.Parse(next)
	return err == nil && Beneath(u.Path, "/api")
}

// Beneath reports whether p is tree or below it, in any spelling of the path.
func Beneath(p, tree string) bool {
	p = strings.ToLower(path.Clean(p))
	return p == tree || strings.HasPrefix(p, tree+"/")
}
