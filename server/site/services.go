package site

import (
	"cmp"
	"net/http"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// servicesPage serves GET /services: the service accounts that the caller owns.
func (st *Site) servicesPage(w http.ResponseWriter, r *route.Request) error {
	list, err := st.Tokens.ServicesOf(r)
	if err != nil {
		return err
	}
	page := web.Services{UID: r.User.UID, Now: st.Now()}
	for _, s := range list {
		page.List = append(page.List, st.service(s))
	}
	return st.Pages.Write(w, http.StatusOK, page)
}

// service is a service account on a page.
func (st *Site) service(s storage.ServiceInfo) web.Service {
	v := st.view.OwnService(s)
	return web.Service{
		UID: v.UID, Path: servicePath(v.UID), Description: v.Description, Successor: v.Successor, State: v.State,
		Tokens: v.Tokens, LastUsed: when(v.LastUsed),
	}
}

func servicePath(uid string) string { return "/services/" + record.ServiceName(uid) }

// servicePage serves GET /services/{name}: the tokens of a service account.
func (st *Site) servicePage(w http.ResponseWriter, r *route.Request) error {
	s, err := st.Tokens.ServiceIn(r)
	if err != nil {
		return err
	}
	shown := st.service(s)
	return st.showList(w, r, http.StatusOK, s.ID, web.Tokens{Service: &shown})
}

// listOf is the path of the page that lists a token of the caller's.
func (st *Site) listOf(r *route.Request, t storage.Token) string {
	if t.Owner == r.User.ID {
		return "/"
	}
	return servicePath(st.Store.UID(t.Owner))
}

func (st *Site) rotatePage(w http.ResponseWriter, r *route.Request) error {
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	return st.showRotation(w, r, http.StatusOK, t, web.Rotate{})
}

// rotateForm serves POST /tokens/{id}/rotate. Like a new token, the new secret is in the
// answer itself.
func (st *Site) rotateForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	t, err := st.Tokens.OwnIn(r)
	if err != nil {
		return err
	}
	overlap, err := tokens.ParseOverlap(cmp.Or(fields["overlap"], tokens.DefaultOverlap))
	if err == nil {
		var rotated storage.Token
		var secret storage.Secret
		if rotated, secret, err = st.Tokens.Rotate(r, t, overlap); err == nil {
			return st.showRotation(w, r, http.StatusOK, rotated, web.Rotate{Secret: secret.Reveal(), Ended: when(rotated.Overlap)})
		}
	}
	return st.explain(w, r, err, func(status int, message string) error {
		return st.showRotation(w, r, status, t, web.Rotate{Error: message})
	})
}

func (st *Site) showRotation(w http.ResponseWriter, r *route.Request, status int, t storage.Token, page web.Rotate) error {
	page.Token, page.Asked = st.row(t), st.asked(r, t)
	for _, o := range []struct {
		value string
		long  time.Duration
	}{{tokens.DefaultOverlap, day}, {"7d", 7 * day}, {"30d", 30 * day}} {
		page.Overlaps = append(page.Overlaps, web.Lifetime{Value: o.value, Words: "at most " + web.Span(o.long) + " longer", Chosen: o.value == tokens.DefaultOverlap})
	}
	page.Overlaps = append(page.Overlaps, web.Lifetime{Value: "0", Words: "no longer"})
	return st.Pages.Write(w, status, page)
}
