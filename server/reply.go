package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// unstored forbids caches to keep any reply: most carry a credential, or answer one, and
// X-Auth-Token and cookies, unlike Authorization, do not hold shared caches back (RFC
// 9111, section 3.5). It goes around all else, so that errors and redirects are
// included; what may be kept says so with cacheable.
func unstored(next http.Handler) http.Handler {
	value := []string{"no-store"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = value[:1:1] // shared, for the gate allocates nothing here
		next.ServeHTTP(w, r)
	})
}

// cacheable lets caches keep the reply to a request that carries no credential.
func (s *Server) cacheable(w http.ResponseWriter, r *request, policy string) {
	if len(r.Header["X-Auth-Token"]) == 0 && len(r.Header["Authorization"]) == 0 && len(r.CookiesNamed(s.cookieName())) == 0 {
		w.Header().Set("Cache-Control", policy)
	}
}

// reply sends a value as JSON. It ends with a newline, as text does, so that a shell's
// prompt does not follow on the same line.
func reply(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	b, err := marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"Internal error"}`)
	}
	b = append(b, '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// marshal is json.Marshal without escapes for HTML, of which programs need none.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// noContent answers an administrator's change that succeeded with 204.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
