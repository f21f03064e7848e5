package server

import (
	"net/http"
	"strings"

	"gatehouse/server/api"
	"gatehouse/storage"
)

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
