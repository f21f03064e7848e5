package server

import (
	"net/http"
	"strings"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// adminLink serves POST /admin/users/{uid}/link.
func (s *Server) adminLink(w http.ResponseWriter, r *http.Request) error {
	id, err := readIdentity(r)
	if err != nil {
		return err
	}
	return noContent(w, s.store.Link(adminActor(r), r.PathValue("uid"), id))
}

// adminUnlink serves POST /admin/users/{uid}/unlink.
func (s *Server) adminUnlink(w http.ResponseWriter, r *http.Request) error {
	id, err := readIdentity(r)
	if err != nil {
		return err
	}
	return noContent(w, s.store.Unlink(adminActor(r), r.PathValue("uid"), id))
}

// readIdentity reads an identity as a person types it.
func readIdentity(r *http.Request) (storage.Identity, error) {
	var in api.Identity
	if err := readJSON(r, &in, false); err != nil {
		return storage.Identity{}, err
	}
	if strings.EqualFold(in.Source, storage.SourceLDAP) {
		return storage.Identity{Source: storage.SourceLDAP, Subject: ldap.Subject(in.Subject)}, nil
	}
	return storage.Identity{Source: in.Source, Subject: in.Subject}, nil
}
