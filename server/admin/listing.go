package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/query"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

func (a *Admin) users(w http.ResponseWriter, r *route.Request) error {
	v := r.URL.Query()
	q, err := a.parser(0).Users(filtersIn(v))
	if err != nil {
		return err
	}
	f, err := a.userPage(v)
	if err != nil {
		return err
	}
	return a.stream(w, r, f.Limit, func(yield func(any, error) bool) {
		for u, err := range a.reader().Users(r.Context(), q, f, f.Limit) {
			v := a.view.User(u)
			if f.Limit > 0 { // the next page begins where this one ends
				v.Created, v.LastUsed = u.Created, u.LastUsed
			}
			if !yield(v, err) {
				return
			}
		}
	})
}

func (a *Admin) userCount(w http.ResponseWriter, r *route.Request) error {
	q, err := a.parser(0).Users(filtersIn(r.URL.Query()))
	if err != nil {
		return err
	}
	n, err := a.reader().CountUsers(r.Context(), q)
	return reply.OK(w, api.Count{Rows: n}, err)
}

func (a *Admin) tokens(w http.ResponseWriter, r *route.Request) error {
	v := r.URL.Query()
	q, err := a.tokenQuery(v)
	if err != nil {
		return err
	}
	p, err := tokenPage(v)
	if err != nil {
		return err
	}
	return a.stream(w, r, p.Limit, func(yield func(any, error) bool) {
		for t, err := range a.reader().Tokens(r.Context(), q, p) {
			v := a.view.WithMaker(t)
			if p.Limit > 0 { // the next page begins where this one ends
				v.Created, v.LastUsed = t.Created, t.LastUsed
			}
			if !yield(v, err) {
				return
			}
		}
	})
}

func (a *Admin) tokenCount(w http.ResponseWriter, r *route.Request) error {
	v := r.URL.Query()
	q, err := a.tokenQuery(v)
	if err != nil {
		return err
	}
	revoked, err := flagOf(v, "revoked")
	if err != nil {
		return err
	}
	n, err := a.reader().Count(r.Context(), q, revoked)
	return reply.OK(w, api.Count{Rows: n}, err)
}

func (a *Admin) matching(w http.ResponseWriter, r *route.Request) error {
	at := a.Now()
	q, err := a.parser(at.UnixMilli()).Tokens(filtersIn(r.URL.Query()))
	if err != nil {
		return err
	}
	m, err := a.reader().Match(r.Context(), q)
	return reply.OK(w, api.Matching{Rows: len(m.IDs), Set: query.SetOf(m.IDs).String(), At: at.UnixMilli()}, err)
}

// reader answers queries. parser parses them as of a moment in ms; 0 means now.
func (a *Admin) reader() query.Reader {
	return query.Reader{
		Store: a.store,
		Delayed: func(u storage.User) (bool, error) {
			d, err := a.loginDelay(u)
			return d != nil, err
		},
		Suspects:   a.Throttle.Suspects,
		Unverified: a.unverified,
	}
}

// unverified returns the users whose provider can't be asked about them.
func (a *Admin) unverified() (map[storage.UserID]bool, error) {
	list, err := a.Recheck.Doubted()
	if err != nil {
		return nil, err
	}
	found := map[storage.UserID]bool{}
	for _, id := range list {
		u, err := a.store.UserByIdentity(id)
		if err == nil {
			found[u.ID] = true
		} else if !errors.Is(err, storage.ErrNoUser) {
			return nil, err
		}
	}
	return found, nil
}

func (a *Admin) parser(at int64) query.Parser {
	now := a.Now()
	if at != 0 {
		now = time.UnixMilli(at).In(now.Location())
	}
	return query.Parser{Now: now, Span: config.ParseSpan}
}

// filtersIn returns what the URL of a listing asks for: filters, and words.
func filtersIn(v url.Values) (f api.Filters, words string) {
	return filters(v, "words", "at", "revoked", "order", "reverse", "after", "limit"), v.Get("words")
}

// filters returns every parameter that is not one of the others, so a mistyped one is
// refused.
func filters(v url.Values, others ...string) api.Filters {
	f := api.Filters(maps.Clone(v))
	maps.DeleteFunc(f, func(name string, _ []string) bool { return slices.Contains(others, name) })
	return f
}

func (a *Admin) tokenQuery(v url.Values) (query.Tokens, error) {
	at := int64(0)
	if v.Has("at") {
		var err error
		if at, err = strconv.ParseInt(v.Get("at"), 10, 64); err != nil {
			return query.Tokens{}, reply.Refuse(http.StatusBadRequest, "at: %q is not a time in milliseconds", v.Get("at"))
		}
	}
	f, words := filtersIn(v)
	return a.parser(at).Tokens(f, words)
}

func (a *Admin) token(w http.ResponseWriter, r *route.Request) error {
	id, err := a.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := a.store.Token(id)
	if err != nil {
		return err
	}
	return reply.OK(w, a.view.Detail(t), nil)
}

// staleSince returns a time in milliseconds. A token that was not used since then is
// stale.
func (a *Admin) staleSince() int64 { return a.Now().Add(-api.StaleAfter).UnixMilli() }

var userOrders = map[api.Order]storage.Order{
	"": storage.ByName, api.ByUID: storage.ByName, api.ByTokens: storage.ByTokens,
	api.ByLastUsed: storage.ByLastUsed, api.ByCreated: storage.ByCreated,
}

func (a *Admin) userPage(q url.Values) (f storage.UserFilter, err error) {
	f.StaleSince = a.staleSince()
	var err1, err2 error
	f.Reverse, err1 = flagOf(q, "reverse")
	f.Limit, err2 = limitOf(q)
	if err := cmp.Or(err1, err2); err != nil {
		return f, err
	}
	order, ok := userOrders[api.Order(q.Get("order"))]
	if !ok {
		return f, errOrder
	}
	f.Order = order
	after := q.Get("after")
	if order == storage.ByName || after == "" {
		f.After.UID = after
		return f, nil
	}
	at, uid, _ := strings.Cut(after, " ")
	f.After.UID = uid
	if f.After.At, err = strconv.ParseInt(at, 10, 64); err != nil || uid == "" {
		return f, errAfter
	}
	return f, nil
}

var tokenOrders = map[api.Order]storage.Order{
	"": storage.ByLastUsed, api.ByLastUsed: storage.ByLastUsed, api.ByCreated: storage.ByCreated,
}

var (
	errOrder = reply.Refuse(http.StatusBadRequest, "order: this list can't be sorted by that")
	errAfter = reply.Refuse(http.StatusBadRequest, "after: this is not a position in the list")
)

func tokenPage(v url.Values) (p query.Page, err error) {
	var err1, err2, err3 error
	p.Dead, err1 = flagOf(v, "revoked")
	p.Reverse, err2 = flagOf(v, "reverse")
	p.Limit, err3 = limitOf(v)
	if err := cmp.Or(err1, err2, err3); err != nil {
		return p, err
	}
	order, ok := tokenOrders[api.Order(v.Get("order"))]
	if !ok {
		return p, errOrder
	}
	p.Order = order
	if after := v.Get("after"); after != "" {
		at, id, _ := strings.Cut(after, ".")
		var err1, err2 error
		p.After.At, err1 = strconv.ParseInt(at, 10, 64)
		p.After.ID, err2 = storage.ParseID(id)
		if errors.Join(err1, err2) != nil {
			return p, errAfter
		}
	}
	return p, nil
}

// flagOf returns whether a parameter is true; without it, it is false.
func flagOf(q url.Values, name string) (bool, error) {
	switch text := q.Get(name); {
	case !q.Has(name), text == "false":
		return false, nil
	case text == "true":
		return true, nil
	default:
		return false, reply.Refuse(http.StatusBadRequest, "%s: %q is not true or false", name, text)
	}
}

func limitOf(q url.Values) (int, error) {
	if !q.Has("limit") {
		return 0, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 {
		return 0, reply.Refuse(http.StatusBadRequest, "limit: %q is not a number of rows", q.Get("limit"))
	}
	return n, nil
}

// stream sends rows as they come, a JSON object a line. An error after the
// first row can't change the status any more: it is the last line.
func (a *Admin) stream(w http.ResponseWriter, r *route.Request, limit int, rows iter.Seq2[any, error]) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	n := 0
	for row, err := range rows {
		if err != nil && n == 0 {
			return err
		}
		if err != nil && reply.Gone(r.Request, err) {
			return nil
		}
		if err != nil {
			a.Log.Error("a listing ended early", "route", r.Pattern, "error", err)
			_, message := reply.Status(err)
			return enc.Encode(api.Error{Message: reply.Sentence(message)})
		}
		if err := enc.Encode(struct {
			Row any `json:"row"`
		}{row}); err != nil {
			return fmt.Errorf("%w: %w", context.Canceled, err) // the reader went away
		}
		if n++; n == limit {
			break
		}
	}
	return nil
}
