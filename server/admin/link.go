package admin

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
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// link serves POST /admin/users/{uid}/link. A subject that nobody has would stop the user
// two sweeps later, so link looks it up now, if it can.
func (a *Admin) link(w http.ResponseWriter, r *route.Request, in api.Link) error {
	u, err := a.store.User(r.PathValue("uid"))
	if err != nil {
		return err
	}
	id := identity(in.Identity)
	if err := checkSource(id); err != nil {
		return err
	}
	checked := a.noSource(id.Source)
	if checked == "" && !in.Unchecked {
		if id, checked, err = a.checkIdentity(r.Context(), id); err != nil {
			return err
		}
	}
	err = a.store.Link(r.Actor(), u.UID, id)
	return reply.OK(w, api.Linked{Identity: api.Identity{Source: id.Source, Subject: id.Subject}, Checked: checked}, err)
}

func (a *Admin) unlink(w http.ResponseWriter, r *route.Request, in api.Identity) error {
	return reply.NoContent(w, a.store.Unlink(r.Actor(), r.PathValue("uid"), identity(in)))
}

// identity is an identity as a person types it.
func identity(in api.Identity) storage.Identity {
	if strings.EqualFold(in.Source, storage.SourceLDAP) {
		return storage.Identity{Source: storage.SourceLDAP, Subject: ldap.Subject(in.Subject)}
	}
	return storage.Identity{Source: in.Source, Subject: in.Subject}
}

// checkSource refuses an identity of a source that no configuration can have: nobody
// could ever log in by it.
func checkSource(id storage.Identity) error {
	if err := id.Check(); err != nil {
		return err
	}
	if id.Source != storage.SourceLDAP && oauth.CheckName(id.Source) != nil {
		return reply.Refuse(http.StatusBadRequest, "%q can't be a source: write ldap, or a provider's name as in the configuration", id.Source)
	}
	return nil
}

// noSource says that the configuration does not have a source yet, or returns "".
func (a *Admin) noSource(source string) string {
	known := slices.Sorted(maps.Keys(a.Providers))
	if a.People != nil {
		known = append([]string{storage.SourceLDAP}, known...)
	}
	if slices.Contains(known, source) {
		return ""
	}
	return fmt.Sprintf("not checked, because the configuration has no source %s; it has %s. Unlink it if that is a typo", source, cmp.Or(strings.Join(known, ", "), "none"))
}

// checkIdentity returns an identity in the form that its source uses, and what was
// found out about it. It refuses what is known to be wrong. An identity that can't be checked
// is linked, and the reply says so.
func (a *Admin) checkIdentity(ctx context.Context, id storage.Identity) (storage.Identity, string, error) {
	if id.Source == storage.SourceLDAP {
		return a.checkSubject(ctx, id)
	}
	checked, err := checkAccount(a.Providers[id.Source], id.Subject)
	return id, checked, err
}

// checkSubject looks a subject up in the directory.
func (a *Admin) checkSubject(ctx context.Context, id storage.Identity) (storage.Identity, string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.Config().LDAP.LoginTimeout())
	defer cancel()
	states, err := a.People.Lookup(ctx, []string{id.Subject})
	st, possible := states[id.Subject]
	switch {
	case st.Entry.Known(): // the person is there, even if the directory can't say whether they may log in
	case err != nil:
		return id, "", reply.Refuse(http.StatusServiceUnavailable, "The directory could not say whether it has the subject %s (%v): correct that, or add --unchecked", id.Subject, err)
	case !possible || st.Verdict == ldap.Missing:
		return id, "", reply.Refuse(http.StatusNotFound, "Nobody in the directory has the subject %s: correct it, or add --unchecked", id.Subject)
	}
	id.Subject = st.Entry.Subject // in the directory's spelling, as in its logins
	checked := st.Entry.DN
	if st.Entry.Name != "" {
		checked += " (" + st.Entry.Name + ")"
	}
	if st.Verdict == ldap.Stopped {
		checked += fmt.Sprintf("; stopped there (%s), so the next sweep suspends the user here", st.Stop.Reason)
	}
	return id, checked, nil
}

// checkAccount says whether a text can be a provider's subject. Providers tell an
// application nothing about people who have not logged in to it.
func checkAccount(p *oauth.Provider, subject string) (checked string, err error) {
	switch form, known := p.SubjectForm(subject); {
	case form == "":
		return fmt.Sprintf("not checked, because %s can't be asked who has it", p.Name()), nil
	case !known:
		return "", reply.Refuse(http.StatusNotFound, "The subject %s can't be one of %s, which is %s: correct it, or add --unchecked", subject, p.Name(), form)
	default:
		return fmt.Sprintf("only the form was checked, because %s can't be asked who has it", p.Name()), nil
	}
}
