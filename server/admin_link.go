package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// adminLink serves POST /admin/users/{uid}/link. A subject that nobody has would
// stop the user two sweeps later, so it is looked up now, where that is possible.
func (s *Server) adminLink(w http.ResponseWriter, r *http.Request) error {
	var in api.Link
	if err := body.JSON(r, &in, false); err != nil {
		return err
	}
	u, err := s.store.User(r.PathValue("uid"))
	if err != nil {
		return err
	}
	id := identity(in.Identity)
	checked := ""
	if !in.Unchecked {
		if id, checked, err = s.checkIdentity(r.Context(), id); err != nil {
			return err
		}
	}
	if err := s.store.Link(adminActor(r), u.UID, id); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, api.Linked{Identity: api.Identity{Source: id.Source, Subject: id.Subject}, Checked: checked})
	return nil
}

// adminUnlink serves POST /admin/users/{uid}/unlink.
func (s *Server) adminUnlink(w http.ResponseWriter, r *http.Request) error {
	var in api.Identity
	if err := body.JSON(r, &in, false); err != nil {
		return err
	}
	return reply.NoContent(w, s.store.Unlink(adminActor(r), r.PathValue("uid"), identity(in)))
}

// identity is an identity as a person types it.
func identity(in api.Identity) storage.Identity {
	if strings.EqualFold(in.Source, storage.SourceLDAP) {
		return storage.Identity{Source: storage.SourceLDAP, Subject: ldap.Subject(in.Subject)}
	}
	return storage.Identity{Source: in.Source, Subject: in.Subject}
}

// checkIdentity returns an identity in the form that its source uses, and what was
// found out about it.
func (s *Server) checkIdentity(ctx context.Context, id storage.Identity) (storage.Identity, string, error) {
	if err := id.Check(); err != nil {
		return id, "", err
	}
	if id.Source == storage.SourceLDAP && s.directory != nil {
		return s.checkSubject(ctx, id)
	}
	if p := s.oauth[id.Source]; p != nil {
		checked, err := checkAccount(p, id.Subject)
		return id, checked, err
	}
	var known []string
	if s.directory != nil {
		known = append(known, storage.SourceLDAP)
	}
	known = append(known, slices.Sorted(maps.Keys(s.oauth))...)
	return id, "", reply.Refuse(http.StatusNotFound, "There is no source %s in the configuration, which has %s: correct it, or add --unchecked",
		id.Source, cmp.Or(strings.Join(known, ", "), "none"))
}

// checkSubject looks a subject up in the directory.
func (s *Server) checkSubject(ctx context.Context, id storage.Identity) (storage.Identity, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config().LDAP.LoginTimeout())
	defer cancel()
	states, err := s.directory.Lookup(ctx, []string{id.Subject})
	st, possible := states[id.Subject]
	switch {
	case st.Entry.Known(): // who is there, even if the directory can't say whether they are let in
	case err != nil:
		return id, "", reply.Refuse(http.StatusServiceUnavailable, "The directory does not tell whether it has the subject %s (%v): correct that, or add --unchecked", id.Subject, err)
	case !possible || st.Verdict == ldap.Missing:
		return id, "", reply.Refuse(http.StatusNotFound, "The directory has nobody with the subject %s: correct it, or add --unchecked", id.Subject)
	}
	id.Subject = st.Entry.Subject // in the directory's spelling, which its logins will have
	checked := st.Entry.DN
	if st.Entry.Name != "" {
		checked += " (" + st.Entry.Name + ")"
	}
	if st.Verdict == ldap.Stopped {
		checked += fmt.Sprintf("; stopped there (%s), and so here with the next sweep", st.Stop.Reason)
	}
	return id, checked, nil
}

// checkAccount says whether a text can be a provider's subject. Providers tell an
// application nothing about people who have not logged in to it.
func checkAccount(p *oauth.Provider, subject string) (checked string, err error) {
	switch form, known := p.SubjectForm(subject); {
	case form == "":
		return "", reply.Refuse(http.StatusNotFound, "The provider %s can't be asked whether it has a subject: if you are sure of it, add --unchecked", p.Name())
	case !known:
		return "", reply.Refuse(http.StatusNotFound, "A subject of %s is %s, and %s is not: correct it, or add --unchecked", p.Name(), form, subject)
	default:
		return fmt.Sprintf("only the form was checked: %s can't be asked who has it", p.Name()), nil
	}
}
