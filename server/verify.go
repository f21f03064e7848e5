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
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// everyScope is what X-Auth-Scopes says of a token without scopes. It is never
// empty: Caddy passes on a client's own header in place of an empty one.
const everyScope = "*"

// verify serves /api/verify, for reverse proxies, on any method. It answers
// 200, 401 or 403 and nothing else: nginx takes another status for an error of
// its own. All identity headers are on every 200, so that none of a client's
// own gets through to the application.
func (s *Server) verify(w http.ResponseWriter, r *request) error {
	scopes := everyScope
	if list := r.scopes(); len(list) > 0 {
		scopes = strings.Join(list, " ")
		// URL.Query would leave out what is malformed, and ask for less.
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return refuse(http.StatusForbidden, "The query is malformed")
		}
		for _, scope := range query["scope"] {
			if !r.limits().Allows(scope) {
				return refuse(http.StatusForbidden, "The token lacks the scope %q", scope)
			}
		}
	}
	// One allocation for all four; the names are canonical already.
	v := [...]string{r.user.UID, r.token.Name, scopes, "no-store"}
	h := w.Header()
	h["X-Auth-User"], h["X-Auth-Token-Id"] = v[0:1:1], v[1:2:2]
	h["X-Auth-Scopes"], h["Cache-Control"] = v[2:3:3], v[3:4:4]
	w.WriteHeader(http.StatusOK)
	return nil
}

// atGate serves the gate. Every verification is counted, and some are timed.
func (s *Server) atGate(rt route) http.Handler {
	count := s.metrics.route(rt.pattern, rt.who)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.metrics.verify.start()
		count.add(s.decide(w, r, rt))
		s.metrics.verify.stop(start)
	})
}

// decide answers for the gate, and returns with which status: 401 on a panic.
func (s *Server) decide(w http.ResponseWriter, r *http.Request, rt route) (status int) {
	status = http.StatusUnauthorized
	defer s.recoverGate(w)
	if err := s.answer(w, r, rt); err != nil {
		return s.failVerify(w, err)
	}
	return http.StatusOK
}

// failVerify answers for verify: whatever is wrong, the request is not let
// through, and the log has the reason.
func (s *Server) failVerify(w http.ResponseWriter, err error) int {
	if errors.Is(err, storage.ErrRefused) { // as nearly always, and before any search for a status
		return challenge(w)
	}
	status, message := statusOf(err)
	if status >= http.StatusInternalServerError {
		s.log.Error("a token could not be verified", "error", err)
	}
	if status != http.StatusForbidden {
		return challenge(w)
	}
	reply(w, status, api.Error{Message: message})
	return status
}

// challenge asks for a token. Basic is first, for git and curl ask for it; no
// browser is meant. What is sent is always the same, so nothing is encoded.
func challenge(w http.ResponseWriter) (status int) {
	const body = `{"error":"` + noCredentials + `"}`
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

// introspect serves POST /api/introspect (RFC 7662). It tells a service what a
// token is, and counts no use.
func (s *Server) introspect(w http.ResponseWriter, r *request) error {
	text, err := tokenField(r)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	t, err := s.store.Inspect(text)
	var u storage.User
	if err == nil {
		u, err = s.store.UserByID(t.Owner)
	}
	if status, _ := statusOf(err); err != nil && status >= http.StatusInternalServerError {
		return err
	}
	if err != nil {
		reply(w, http.StatusOK, api.Introspection{})
		return nil
	}
	reply(w, http.StatusOK, api.Introspection{
		Active: true, Scope: strings.Join(t.Scopes, " "), Username: u.UID, Subject: u.UID, ID: t.ID.String(),
		TokenType: "Bearer", IssuedAt: t.Created / 1000, Expires: t.Expires / 1000,
	})
	return nil
}

// revokePosted serves POST /api/revoke (RFC 7009): whoever has a token may
// revoke it, and a token that is none is no error.
func (s *Server) revokePosted(w http.ResponseWriter, r *request) error {
	text, err := tokenField(r)
	if err != nil {
		return err
	}
	if err := s.revokeTexts(r, text); err != nil {
		return err
	}
	reply(w, http.StatusOK, struct{}{})
	return nil
}

// tokenField is the form field that both RFCs name.
func tokenField(r *request) (string, error) {
	fields, err := readFields(r.Request)
	if err != nil {
		return "", err
	}
	v, err := require(fields, "token")
	if err != nil {
		return "", err
	}
	return v[0], nil
}

// rotateToken serves POST /api/token/{id}/rotate.
func (s *Server) rotateToken(w http.ResponseWriter, r *request) error {
	body := struct {
		Overlap string `json:"overlap"`
	}{defaultOverlap}
	if err := readJSON(r.Request, &body, true); err != nil {
		return err
	}
	overlap, err := parseOverlap(body.Overlap)
	if err != nil {
		return err
	}
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if t.Expired(s.now().UnixMilli()) {
		return refuse(http.StatusConflict, "The token has expired: a new secret would not work either")
	}
	with := storage.ByUser
	if r.token != nil {
		if r.token.ID != t.ID {
			return refuse(http.StatusForbidden, "A token may rotate only itself")
		}
		with = int(r.token.Generation)
	}
	t, secret, err := s.store.RotateToken(r.actor(r.user.UID), t.ID, overlap, with)
	if err != nil {
		return err
	}
	replySecret(w, newToken(t, r.user.UID, secret))
	return nil
}

// defaultOverlap is how long the old secret is good when nobody says.
const defaultOverlap = "24h"

func parseOverlap(text string) (time.Duration, error) {
	if text == "0" || text == "0s" {
		return 0, nil
	}
	d, err := ParseSpan(text)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "overlap: %v", err)
	}
	return d, nil
}
