package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	"gatehouse/server/api"
	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

func (s *Server) recentFiles(w http.ResponseWriter, r *route.Request) error {
	limit := -1
	if text := r.URL.Query().Get("limit"); r.URL.Query().Has("limit") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return reply.Refuse(http.StatusBadRequest, "limit: %q is not a number of files", text)
		}
		limit = n
	}
	list, err := s.store.Files().List(r.User.ID)
	if err != nil {
		return err
	}
	if limit >= 0 && limit < len(list) {
		list = list[:limit]
	}
	out := make([]api.RecentFile, 0, len(list))
	for _, f := range list {
		out = append(out, api.RecentFile{ID: f.ID, Name: f.Name, TimeStamp: f.Time, Revision: f.Revision, Path: f.Path})
	}
	return reply.OK(w, out, nil)
}

func (s *Server) openedFile(w http.ResponseWriter, r *route.Request) error {
	var in struct {
		ID        json.RawMessage `json:"id"`
		Name      *string         `json:"name"`
		TimeStamp *int64          `json:"timeStamp"`
		Revision  json.RawMessage `json:"revision"`
		Path      *string         `json:"path"`
	}
	if err := body.JSON(r.Request, &in); err != nil {
		return err
	}
	f := storage.File{ID: canonical(in.ID), Revision: canonical(in.Revision)}
	switch {
	case !scalar(in.ID, 512) || string(in.ID) == "null":
		return reply.Refuse(http.StatusBadRequest, `The field "id" must be a string or a number of at most 512 bytes`)
	case in.Name == nil || len(*in.Name) > 1024:
		return reply.Refuse(http.StatusBadRequest, `The field "name" must be a string of at most 1024 bytes`)
	case in.Path == nil || len(*in.Path) > 4096:
		return reply.Refuse(http.StatusBadRequest, `The field "path" must be a string of at most 4096 bytes`)
	case in.Revision != nil && !scalar(in.Revision, 512):
		return reply.Refuse(http.StatusBadRequest, `The field "revision" must be a string or a number of at most 512 bytes`)
	case in.TimeStamp != nil && *in.TimeStamp <= 0:
		return reply.Refuse(http.StatusBadRequest, `The field "timeStamp" must be milliseconds since 1970`)
	}
	f.Name, f.Path = *in.Name, *in.Path
	if in.TimeStamp != nil {
		f.Time = *in.TimeStamp
	}
	if f.Revision == nil {
		f.Revision = json.RawMessage("null")
	}
	return reply.NoContent(w, s.changes.Spend(r.User.ID, func() error { return s.store.Files().Opened(r.User.ID, f) }))
}

// canonical rewrites a JSON string with as few escapes as possible: an id that is
// escaped in another way is the same file.
func canonical(b json.RawMessage) json.RawMessage {
	var text string
	if len(b) == 0 || b[0] != '"' || json.Unmarshal(b, &text) != nil {
		return b
	}
	if again, err := reply.Marshal(text); err == nil {
		return again
	}
	return b
}

// scalar reports whether b is a JSON string, number or null of bounded length.
func scalar(b json.RawMessage, most int) bool {
	if len(b) == 0 || len(b) > most {
		return false
	}
	c := b[0]
	return c == '"' || c == '-' || c >= '0' && c <= '9' || string(b) == "null"
}
