package server

import (
	"errors"
	"net/http"
	"strconv"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// adminEvents serves GET /admin/events: the audit log after a sequence; with
// follow it goes on as things happen.
func (s *Server) adminEvents(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	limit, err := limitOf(q)
	if err != nil {
		return err
	}
	var after uint64
	if text := q.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return refuse(http.StatusBadRequest, "after: %q is no number of an event", text)
		}
	}
	if text := q.Get("last"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return refuse(http.StatusBadRequest, "last: %q is no number of events", text)
		}
		after = max(after, s.store.LastSequence()-min(n, s.store.LastSequence()))
	}
	follow := q.Get("follow") == "true"
	if follow {
		w = unbuffered{w}
	}
	return s.stream(w, r, limit, func(yield func(any, error) bool) {
		for e, err := range s.store.Events(r.Context(), after, follow) {
			if follow && r.Context().Err() != nil {
				return
			}
			if !yield(eventView(e), err) {
				return
			}
		}
	})
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

// adminVerify serves GET /admin/events/verify: it reads the whole chain. What
// is wrong with it is an answer, not an error.
func (s *Server) adminVerify(w http.ResponseWriter, r *http.Request) error {
	v := api.Verification{Last: s.store.LastSequence()}
	err := s.store.VerifyJournal(r.Context())
	if errors.Is(err, storage.ErrDamaged) {
		v.Problem = err.Error()
	} else if err != nil {
		return err
	}
	reply(w, http.StatusOK, v)
	return nil
}

// adminBackup serves GET /admin/backup: a snapshot of the store as it is now.
// An error after the first byte breaks the connection, and the snapshot has no
// end.
func (s *Server) adminBackup(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	begun := &noticing{ResponseWriter: w}
	_, err := s.store.Snapshot(r.Context(), begun)
	if err != nil && begun.begun {
		s.log.Error("a backup broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// noticing knows whether anything was sent.
type noticing struct {
	http.ResponseWriter
	begun bool
}

func (w *noticing) Write(b []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(b)
}
