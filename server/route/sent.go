package route

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// TokenOf returns the token that a request brings. If there are two, it returns neither:
// sent is true, and text is empty, which is not a token.
func TokenOf(r *http.Request, basic bool) (text string, sent bool) {
	switch all := tokensOf(r, basic); len(all) {
	case 0:
		return "", false
	case 1:
		return all[0], true
	}
	return "", true
}

// TokensOf returns all that a request brings as X-Auth-Token or as a Bearer (RFC 6750,
// section 2.1).
func TokensOf(r *http.Request) []string { return tokensOf(r, false) }

// tokensOf also returns the password of HTTP Basic, if basic is set: there it may be a
// token. The names are canonical, as net/http keeps them.
func tokensOf(r *http.Request, basic bool) []string {
	all := r.Header["X-Auth-Token"]
	for _, v := range r.Header["Authorization"] {
		scheme, rest, _ := strings.Cut(v, " ")
		token, ok := strings.TrimLeft(rest, " "), isScheme(scheme, "Bearer")
		if basic && isScheme(scheme, "Basic") {
			token, ok = passwordOf(token)
		}
		if ok {
			all = append(all[:len(all):len(all)], token)
		}
	}
	return all
}

// isScheme compares without regard to ASCII case. EqualFold alone takes the long s for an
// s.
func isScheme(got, want string) bool {
	return len(got) == len(want) && strings.EqualFold(got, want)
}

// passwordOf returns the password of HTTP Basic (RFC 7617, section 2).
func passwordOf(credentials string) (password string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(credentials)
	if err != nil {
		return "", false
	}
	_, password, ok = strings.Cut(string(b), ":")
	return password, ok
}

// AgentOf is what the client calls itself. The name is in its canonical form, so
// that the header need not be asked how it is spelt.
func AgentOf(h http.Header) string {
	if v := h["User-Agent"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// WantsPage reports whether a browser asks, by its Accept header.
func WantsPage(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// AheadOfNeed reports whether a browser prefetches or prerenders: nobody has asked
// for it yet.
func AheadOfNeed(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := strings.ToLower(strings.Join(r.Header.Values(name), ",")); strings.Contains(v, "prefetch") || strings.Contains(v, "preview") || strings.Contains(v, "prerender") {
			return true
		}
	}
	return false
}

// FromElsewhere reports whether another site's page sent the browser here. Unlike
// http.CrossOriginProtection it checks GETs, too.
func FromElsewhere(r *http.Request, origins *http.CrossOriginProtection) bool {
	asPost := r.WithContext(r.Context()) // a copy: the check lets every GET pass
	asPost.Method = http.MethodPost
	return origins.Check(asPost) != nil
}

// The methods of a login by name and password. Any other method is the name of a provider.
const (
	Userpass = "userpass"
	LDAP     = "ldap"
)

// ByProvider reports whether a login's method is an OAuth provider. The cookie of such a
// session is SameSite=Lax: browsers send it when another site links here.
func ByProvider(method string) bool { return method != Userpass && method != LDAP }

// WithoutCredential reports whether a request carries no credential, so that caches may
// keep the reply if it says so. The name is that of the login cookie.
func (r *Request) WithoutCredential(cookie string) bool {
	return len(r.Header["X-Auth-Token"]) == 0 && len(r.Header["Authorization"]) == 0 && len(r.CookiesNamed(cookie)) == 0
}
