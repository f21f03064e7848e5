package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// adminUsers serves GET /admin/users.
func (s *Server) adminUsers(w http.ResponseWriter, r *http.Request) error {
	f, err := s.userFilter(r.URL.Query())
	if err != nil {
		return err
	}
	return s.stream(w, r, f.Limit, func(yield func(any, error) bool) {
		for u, err := range s.store.Users(f) {
			v := s.userView(u)
			if f.Limit > 0 { // the next page begins where this one ends
				v.Created, v.LastUsed = u.Created, u.LastUsed
			}
			if !yield(v, err) {
				return
			}
		}
	})
}

// adminUserCount serves GET /admin/users/count.
func (s *Server) adminUserCount(w http.ResponseWriter, r *http.Request) error {
	f, err := s.userFilter(r.URL.Query())
	if err != nil {
		return err
	}
	n, err := s.store.CountUsers(f.Prefix)
	if err == nil {
		reply.JSON(w, http.StatusOK, api.Count{Rows: n})
	}
	return err
}

// adminTokens serves GET /admin/tokens.
func (s *Server) adminTokens(w http.ResponseWriter, r *http.Request) error {
	f, err := s.tokenFilter(r.URL.Query())
	if err != nil {
		return err
	}
	return s.stream(w, r, f.Limit, func(yield func(any, error) bool) {
		for t, err := range s.store.Tokens(f) {
			v := s.adminView(t)
			if f.Limit > 0 { // likewise
				v.Created, v.LastUsed = t.Created, t.LastUsed
			}
			if !yield(v, err) {
				return
			}
		}
	})
}

// adminTokenCount serves GET /admin/tokens/count.
func (s *Server) adminTokenCount(w http.ResponseWriter, r *http.Request) error {
	f, err := s.tokenFilter(r.URL.Query())
	if err != nil {
		return err
	}
	n, err := s.store.CountTokens(f)
	if err == nil {
		reply.JSON(w, http.StatusOK, api.Count{Rows: n})
	}
	return err
}

// adminToken serves GET /admin/tokens/{id}.
func (s *Server) adminToken(w http.ResponseWriter, r *http.Request) error {
	id, err := s.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := s.store.Token(id)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, s.detailView(t))
	return nil
}

// staleSince is the time, in milliseconds, since when a token must have been used
// not to be stale.
func (s *Server) staleSince() int64 { return s.now().Add(-api.StaleAfter).UnixMilli() }

var userOrders = map[api.Order]storage.Order{
	"": storage.ByName, api.ByUID: storage.ByName, api.ByTokens: storage.ByTokens,
	api.ByLastUsed: storage.ByLastUsed, api.ByCreated: storage.ByCreated,
}

func (s *Server) userFilter(q url.Values) (f storage.UserFilter, err error) {
	f = storage.UserFilter{Prefix: q.Get("prefix"), Reverse: q.Get("reverse") == "true", StaleSince: s.staleSince()}
	if f.Limit, err = limitOf(q); err != nil {
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
	errOrder = reply.Refuse(http.StatusBadRequest, "order: that is not what this listing can be sorted by")
	errAfter = reply.Refuse(http.StatusBadRequest, "after: that is no place in this listing")
)

func (s *Server) tokenFilter(q url.Values) (f storage.TokenFilter, err error) {
	f = storage.TokenFilter{
		Prefix: q.Get("prefix"), NeverUsed: q.Get("neverUsed") == "true", Revoked: q.Get("revoked") == "true",
		Reverse: q.Get("reverse") == "true",
	}
	if f.Limit, err = limitOf(q); err != nil {
		return f, err
	}
	if f.Owner, err = s.ownerOf(q.Get("user")); err != nil {
		return f, err
	}
	if f.IdleSince, err = s.idleSince(q.Get("idle")); err != nil {
		return f, err
	}
	order, ok := tokenOrders[api.Order(q.Get("order"))]
	if !ok {
		return f, errOrder
	}
	f.Order = order
	if after := q.Get("after"); after != "" {
		at, id, _ := strings.Cut(after, ".")
		var err1, err2 error
		f.After.At, err1 = strconv.ParseInt(at, 10, 64)
		f.After.ID, err2 = storage.ParseID(id)
		if errors.Join(err1, err2) != nil {
			return f, errAfter
		}
	}
	return f, nil
}

// ownerOf returns the id of the user uid, and 0, for everybody, if uid is empty.
func (s *Server) ownerOf(uid string) (storage.UserID, error) {
	if uid == "" {
		return 0, nil
	}
	u, err := s.store.User(uid)
	return u.ID, err
}

// idleSince is the time, in milliseconds, since when a token must not have been used
// to be idle for that span; 0, for any token, if the span is empty.
func (s *Server) idleSince(span string) (int64, error) {
	if span == "" {
		return 0, nil
	}
	d, err := config.ParseSpan(span)
	if err != nil {
		return 0, reply.Refuse(http.StatusBadRequest, "idle: %v", err)
	}
	since := s.now().Add(-d).UnixMilli()
	if since == 0 {
		since = -1 // 0 would mean any token
	}
	return since, nil
}

func limitOf(q url.Values) (int, error) {
	if !q.Has("limit") {
		return 0, nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 {
		return 0, reply.Refuse(http.StatusBadRequest, "limit: %q is no number of rows", q.Get("limit"))
	}
	return n, nil
}

// stream sends rows as they come, a JSON object a line. An error after the
// first row can't change the status any more: it is the last line.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, limit int, rows iter.Seq2[any, error]) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	n := 0
	for row, err := range rows {
		if err != nil && n == 0 {
			return err
		}
		if err != nil && reply.Gone(r, err) {
			return nil
		}
		if err != nil {
			s.log.Error("a listing ended early", "route", r.Pattern, "error", err)
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
