package site

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/route"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// rowsPerPage is how many tokens a page shows: somebody may have a hundred thousand.
const rowsPerPage = 50

// mostSorted is how many tokens are read to sort them by anything other than their creation.
// It takes about 100 ms, in a turn. More tokens are shown by creation.
const mostSorted = 10_000

// showTokens writes the page of the caller's tokens.
func (st *Site) showTokens(w http.ResponseWriter, r *route.Request, status int, page web.Tokens) error {
	page.Address = st.address(r.Request)
	if page.Form == nil {
		page.Form = st.emptyForm(r)
	}
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
	page.UID, page.Now, page.Done = r.User.UID, st.Now(), st.justDone(r, owner)
	page.Place = place(r, page.Path())
	if err := st.fillPage(r, owner, &page); err != nil {
		return err
	}
	return st.Pages.Write(w, status, page)
}

// place reads from the query which page of a list is meant, and its order. Without a usable
// number it is the first page, and without a known order the newest token is first.
func place(r *route.Request, list string) web.Place {
	q := r.URL.Query()
	n, _ := strconv.Atoi(q.Get("page"))
	at := web.Place{Listing: list, Number: max(1, n), Sort: web.Newest}
	if sort := web.Sort(q.Get("sort")); sort.Known() {
		at.Sort = sort
	}
	return at
}

// fillPage reads the tokens of the page, or of the last one if there are fewer pages.
func (st *Site) fillPage(r *route.Request, owner storage.UserID, page *web.Tokens) error {
	give, err := st.Turns.Take(r.Context(), r.User.ID)
	if err != nil {
		return err
	}
	defer give()
	if page.Total, page.Stale, err = st.Store.CountTokensOf(owner, st.staleSince()); err != nil {
		return err
	}
	if page.Sortable = page.Total <= mostSorted; !page.Sortable && page.Sort.Key() != web.ByCreated {
		page.Sort = web.Newest
	}
	page.Last = max(1, (page.Total+rowsPerPage-1)/rowsPerPage)
	page.Number = min(page.Number, page.Last)
	list, err := st.tokensAt(owner, page.Place)
	for _, t := range list {
		page.List = append(page.List, st.row(t))
	}
	return err
}

// tokensAt reads the tokens of one page.
func (st *Site) tokensAt(owner storage.UserID, at web.Place) ([]storage.Token, error) {
	skip := (at.Number - 1) * rowsPerPage
	if at.Sort.Key() == web.ByCreated {
		list, _, err := st.Store.Page(storage.Owned{Owner: owner, Newest: at.Sort.Descends(), Skip: skip, Limit: rowsPerPage})
		return list, err
	}
	list, _, err := st.Store.Page(storage.Owned{Owner: owner, Newest: true, Limit: mostSorted})
	sortTokens(list, at.Sort)
	skip = min(skip, len(list))
	return list[skip:min(skip+rowsPerPage, len(list))], err
}

// sortTokens sorts by name, last use or end. As on the terminal, tokens that were never used
// come before all others, by creation. No name comes after all names, and no end after all
// ends.
func sortTokens(list []storage.Token, by web.Sort) {
	used := func(t storage.Token) int64 {
		if t.LastUsed > t.Created {
			return t.LastUsed
		}
		return 0
	}
	compare := func(a, b storage.Token) int {
		return cmp.Or(cmp.Compare(used(a), used(b)), cmp.Compare(a.Created, b.Created))
	}
	switch by.Key() {
	case web.ByName:
		lower := make(map[storage.ID]string, len(list))
		for _, t := range list {
			lower[t.ID] = strings.ToLower(t.Name)
		}
		compare = func(a, b storage.Token) int {
			if a.Name == "" || b.Name == "" {
				return cmp.Compare(len(b.Name), len(a.Name))
			}
			return cmp.Compare(lower[a.ID], lower[b.ID])
		}
	case web.ByEnd:
		compare = func(a, b storage.Token) int {
			return cmp.Compare(uint64(a.Ends()-1), uint64(b.Ends()-1)) // 0, no end, becomes the highest
		}
	}
	slices.SortStableFunc(list, func(a, b storage.Token) int {
		if by.Descends() {
			return compare(b, a)
		}
		return compare(a, b)
	})
}

// staleSince is when a token must have been used last to be called stale, in ms.
func (st *Site) staleSince() int64 { return st.Now().Add(-api.StaleAfter).UnixMilli() }

// row is the only way from a stored token to one on a page, as package view is to one on
// the wire.
func (st *Site) row(t storage.Token) web.Token {
	v := st.view.Token(t, "")
	row := web.Token{
		ID: v.ID, Name: v.Name, Address: v.LastAddress, State: v.State, By: t.By,
		Created: when(v.Created), Expires: when(t.Ends()), Stale: v.LastUsed <= st.staleSince(),
		Scopes: v.Scopes, Addresses: v.Addresses,
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
