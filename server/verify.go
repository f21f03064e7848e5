package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// everyScope is what X-Auth-Scopes says of a token without scopes. It is never
// empty: Caddy passes on a client's own header in place of an empty one.
const everyScope = "*"

// verify serves /api/verify, for reverse proxies, on any method. It answers
// 200, 401 or 403 and nothing else: nginx treats every other status as an error. All
// identity headers are on every 200, so that a header which the client sent never
// reaches the application.
func (s *Server) verify(w http.ResponseWriter, r *route.Request) error {
	scopes := everyScope
	if list := r.Scopes(); len(list) > 0 {
		scopes = strings.Join(list, " ")
		// URL.Query would leave out what is malformed, and ask for less.
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return reply.Refuse(http.StatusForbidden, "The query is malformed")
		}
		for _, scope := range query["scope"] {
			if !r.Limits().Allows(scope) {
				return reply.Refuse(http.StatusForbidden, "The token lacks the scope %q", scope)
			}
		}
	}
	// One allocation for all four; the names are canonical already.
	v := [...]string{headerUID(r.User.UID), r.User.ID.Opaque(), r.Token.Name, scopes}
	h := w.Header()
	h["X-Auth-User"], h["X-Auth-User-Id"] = v[0:1:1], v[1:2:2]
	h["X-Auth-Token-Id"], h["X-Auth-Scopes"] = v[2:3:3], v[3:4:4]
	w.WriteHeader(http.StatusOK)
	return nil
}

// atGate serves the gate. Every verification is counted, and some are timed.
func (s *Server) atGate(rt route.Route) http.Handler {
	count := s.metrics.Route(rt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.metrics.Start()
		count.Add(s.decide(w, r, rt))
		s.metrics.Stop(start)
	})
}

// decide answers for the gate, and returns the status: 401 on a panic.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, rt route.Route) (status int) {
	status = http.StatusUnauthorized
	defer s.recoverGate(w)
	if err := s.answer(w, r, rt); err != nil {
		return s.failVerify(w, err)
	}
	return http.StatusOK
}

// failVerify answers an error of verify: it never lets the request through.
func (s *Server) failVerify(w http.ResponseWriter, err error) int {
	if errors.Is(err, storage.ErrRefused) { // as nearly always, and before any search for a status
		return challenge(w)
	}
	status, message := reply.Status(err)
	if status >= http.StatusInternalServerError && !passing(err) {
		s.watch.gate.Set(err)
	}
	if status != http.StatusForbidden {
		return challenge(w)
	}
	reply.JSON(w, status, api.Error{Message: message})
	return status
}

// challenge asks for a token. Basic is first, because git and curl ask for it; browsers
// are not meant. The reply is always the same, so nothing is encoded.
func challenge(w http.ResponseWriter) (status int) {
	const body = `{"error":"` + reply.NoCredentials + `"}` + "\n"
	v := [...]string{`Basic realm="gatehouse"`, `Bearer realm="gatehouse"`, "application/json", "nosniff", strconv.Itoa(len(body))}
	h := w.Header()
	h["Www-Authenticate"] = v[0:2:2]
	h["Content-Type"], h["X-Content-Type-Options"], h["Content-Length"] = v[2:3:3], v[3:4:4], v[4:5:5]
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, body)
	return http.StatusUnauthorized
}

// recoverGate lets nobody through on a panic.
func (s *Server) recoverGate(w http.ResponseWriter) {
	if p := recover(); p != nil {
		s.failVerify(w, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}
