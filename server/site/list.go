package site

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// rowsPerPage is how many tokens a page shows: somebody may have a hundred thousand.
const rowsPerPage = 50

// showTokens writes the page of the caller's tokens, the newest first.
func (st *Site) showTokens(w http.ResponseWriter, r *route.Request, status int, page web.Tokens) error {
	page.Address, page.Lifetimes = st.address(r.Request), st.Lifetimes()
	services, err := st.Tokens.ServicesOf(r)
	if err != nil {
		return err
	}
	page.Services = len(services)
	return st.showList(w, r, status, r.User.ID, page)
}

// showList writes a page of the tokens of a user: the caller, or a service account of the
// caller's.
func (st *Site) showList(w http.ResponseWriter, r *route.Request, status int, owner storage.UserID, page web.Tokens) error {
	page.UID, page.Now, page.Number = r.User.UID, st.Now(), 1
	if r.Method == http.MethodGet {
		page.Number = number(r.URL.Query().Get("page"))
		page.Done = st.justDone(r, owner)
	}
	if err := st.fillPage(r, owner, &page); err != nil {
		return err
	}
	return st.Pages.Write(w, status, page)
}

// fillPage reads the tokens of the page, or of the last one if there are fewer pages.
func (st *Site) fillPage(r *route.Request, owner storage.UserID, page *web.Tokens) (err error) {
	if err := st.Turns.Take(r.Context(), r.User.ID); err != nil {
		return err
	}
	start := time.Now()
	defer func() { st.Turns.Give(time.Since(start)) }()
	if page.Total, err = st.Store.CountTokensOf(owner); err != nil {
		return err
	}
	page.Last = max(1, (page.Total+rowsPerPage-1)/rowsPerPage)
	page.Number = min(page.Number, page.Last)
	list, _, err := st.Store.Page(storage.Owned{
		Owner: owner, Newest: true, Skip: (page.Number - 1) * rowsPerPage, Limit: rowsPerPage,
	})
	for _, t := range list {
		page.List = append(page.List, st.row(t))
	}
	return err
}

// row is the only way from a stored token to one on a page, as package view is to one on
// the wire.
func (st *Site) row(t storage.Token) web.Token {
	v := st.view.Token(t, "")
	row := web.Token{
		ID: v.ID, Name: v.Name, Address: v.LastAddress, State: v.State,
		By: t.By, Created: when(v.Created), Expires: when(t.Ends()), Limits: slices.Concat(v.Scopes, v.Addresses),
	}
	if v.Used() {
		row.LastUsed = when(v.LastUsed)
	}
	return row
}

// justDone says what was done to a token according to the query, if the token is the
// owner's and the store agrees.
func (st *Site) justDone(r *route.Request, owner storage.UserID) *web.Done {
	for _, what := range []string{"revoked", "renamed"} {
		id, err := storage.ParseID(r.URL.Query().Get(what))
		if err != nil {
			continue
		}
		t, err := st.Store.Token(id)
		if err == nil && t.Owner == owner && (t.Revoked != 0) == (what == "revoked") {
			return &web.Done{What: what, ID: id.String(), Name: t.Name}
		}
	}
	return nil
}

const day = 24 * time.Hour

// Lifetimes are the choices for a new token that the policy allows, with the default
// chosen.
func (st *Site) Lifetimes() (list []web.Lifetime) {
	usual := time.Duration(tokens.DefaultSpec(st.Config().Tokens).Lifetime) * time.Millisecond
	spans := []time.Duration{30 * day, 90 * day, 365 * day, usual, st.Config().Tokens.MaxLifetime.Duration}
	slices.Sort(spans)
	for _, d := range slices.Compact(spans) {
		if most := st.Config().Tokens.MaxLifetime; d > 0 && (!most.Ends() || d <= most.Duration) {
			list = append(list, web.Lifetime{Value: config.FormatSpan(d), Words: "in " + web.Span(d), Chosen: d == usual})
		}
	}
	if !st.Config().Tokens.MaxLifetime.Ends() {
		never := web.Lifetime{Value: "never", Words: "never", Chosen: usual == 0}
		list = append([]web.Lifetime{never}, list...)
	}
	return list
}

// address is the URL of this server for lines to paste into a shell. It contains the Host
// that the browser named, unless that has characters with a meaning for a shell.
func (st *Site) address(r *http.Request) string {
	if st.Config().PublicURL != "" {
		return strings.TrimSuffix(st.Config().PublicURL, "/")
	}
	scheme, host := "http://", r.Host
	if st.Config().Secure() {
		scheme = "https://"
	}
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-:[]", c)
	}
	if host == "" || strings.ContainsFunc(host, func(c rune) bool { return !plain(c) }) {
		host = st.Config().Listen
	}
	return scheme + host
}
