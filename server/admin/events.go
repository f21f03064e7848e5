package admin

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"gatehouse/server/api"
	"gatehouse/server/query"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/audit"
)

// events serves GET /admin/events: the audit log after a sequence; with
// follow it goes on as things happen.
func (a *Admin) events(w http.ResponseWriter, r *route.Request) error {
	q := r.URL.Query()
	limit, err1 := limitOf(q)
	after, err2 := numberOf(q, "after")
	last, err3 := numberOf(q, "last")
	follow, err4 := flagOf(q, "follow")
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return err
	}
	about, where, err := a.search(q)
	if err != nil {
		return err
	}
	read := a.store.Audit().Events
	if follow {
		w, read = unbuffered{w}, a.store.Audit().Follow
	}
	if last > 0 {
		end := a.store.Audit().Last()
		after = max(after, end-min(last, end))
	}
	return a.stream(w, r, limit, func(yield func(any, error) bool) {
		for e, err := range read(r.Context(), after) {
			if follow && r.Context().Err() != nil {
				return
			}
			if (err != nil || about.Is(e) && where.Is(e)) && !yield(eventView(e), err) {
				return
			}
		}
	})
}

// search reads which user or token events are to be about, and the filters of the audit log.
// For a token, an unambiguous prefix of its id will do.
func (a *Admin) search(q url.Values) (about audit.About, where query.Events, err error) {
	about = audit.About{UID: q.Get("uid"), Token: strings.ToLower(q.Get("token"))}
	if about.Token != "" && len(about.Token) != 2*len(storage.ID{}) {
		id, err := a.store.FindToken(about.Token)
		if err != nil {
			return about, where, err
		}
		about.Token = id.String()
	}
	where, err = a.parser(0).Events(filters(q, "uid", "token", "after", "before", "last", "limit", "follow"))
	return about, where, err
}

// How many of the latest events history returns. They are all kept in memory.
const (
	someRecent = 100    // unless the query says
	maxRecent  = 10_000 // at most
)

// history serves GET /admin/events/history: the latest events about a user or a
// token, as far back as the store looks at a time.
func (a *Admin) history(w http.ResponseWriter, r *route.Request) error {
	q := r.URL.Query()
	about, where, err := a.search(q)
	if err != nil {
		return err
	}
	after, err1 := numberOf(q, "after")
	before, err2 := numberOf(q, "before")
	last, err3 := numberOf(q, "last")
	if err := cmp.Or(err1, err2, err3); err != nil {
		return err
	}
	f, err := a.store.Audit().Recent(r.Context(), audit.Search{
		About: about, Where: where.Is, After: after, Before: before, Most: int(min(cmp.Or(last, someRecent), maxRecent)),
	})
	if err != nil {
		return err
	}
	h := api.History{Events: make([]api.Event, len(f.Events)), Before: f.Rest, Since: f.Since, Last: f.Last}
	for i, e := range f.Events {
		h.Events[i] = eventView(e)
	}
	return reply.OK(w, h, nil)
}

// numberOf reads a number that may be left out.
func numberOf(q url.Values, name string) (uint64, error) {
	if !q.Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseUint(q.Get(name), 10, 64)
	if err != nil {
		return 0, reply.Refuse(http.StatusBadRequest, "%s: %q is not a number", name, q.Get(name))
	}
	return n, nil
}

// unbuffered sends each line as it is written.
type unbuffered struct{ http.ResponseWriter }

func (w unbuffered) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err == nil {
		if f := http.NewResponseController(w.ResponseWriter).Flush(); f != nil && !errors.Is(f, http.ErrNotSupported) {
			err = f
		}
	}
	return n, err
}

func eventView(e storage.Event) api.Event {
	return api.Event{
		Sequence: e.Sequence, Time: e.Time, Actor: e.Actor, Address: e.Address, Action: e.Action,
		UID: e.UID, Token: e.Token, Detail: e.Detail, Count: max(1, e.Count),
	}
}

// verify serves GET /admin/events/verify: it reads the whole chain, and looks for the
// record that atLeast names. A broken chain is an answer, not an error.
func (a *Admin) verify(w http.ResponseWriter, r *route.Request) error {
	found, err := a.store.Audit().Verify(r.Context(), r.URL.Query().Get("atLeast"))
	v := api.Verification{First: found.First, Last: found.Last, End: found.End}
	if errors.Is(err, storage.ErrDamaged) || errors.As(err, new(*audit.RolledBackError)) {
		v.Problem = err.Error()
	} else if err != nil {
		return err
	}
	return reply.OK(w, v, nil)
}

// backup serves GET /admin/backup: a snapshot of the store as it is now. On an
// error after the first byte it breaks the connection: the snapshot then lacks its
// end, and every reader checks that.
func (a *Admin) backup(w http.ResponseWriter, r *route.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	begun := &noticing{ResponseWriter: w}
	_, err := a.store.Snapshot(r.Context(), begun)
	if err != nil && begun.begun {
		if reply.Gone(r.Request, err) {
			a.Log.Info("a backup was cancelled by the client")
		} else {
			a.Log.Error("a backup failed", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	if err == nil {
		if err := a.store.Record(r.Actor(), storage.Event{Action: storage.ActionBackup}); err != nil {
			a.Log.Error("a backup was sent, but no event of it could be saved", "error", err)
		}
	}
	return err
}

// noteBackup serves POST /admin/backup. The client has the whole backup: a reply that was
// sent may still have met a full disk.
func (a *Admin) noteBackup(w http.ResponseWriter, r *route.Request) error {
	if err := a.store.NoteBackup(); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// noticing remembers whether anything was written.
type noticing struct {
	http.ResponseWriter
	begun bool
}

func (w *noticing) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}
