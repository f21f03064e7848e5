package scim

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

const (
	mediaType   = "application/scim+json"
	userURN     = "urn:ietf:params:scim:schemas:core:2.0:User"
	listSchema  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	errorSchema = "urn:ietf:params:scim:api:messages:2.0:Error"
)

// Error is an error with the keyword of RFC 7644, table 9.
type Error struct {
	error
	Type string // empty: none fits
}

// Unwrap returns the error with its status and message.
func (e *Error) Unwrap() error { return e.error }

// refuse returns an Error.
func refuse(status int, scimType, format string, args ...any) error {
	return &Error{reply.Refuse(status, format, args...), scimType}
}

// Fail answers with an error in the form of RFC 7644, section 3.12.
func Fail(w http.ResponseWriter, status int, message string, err error) {
	scimType := map[int]string{http.StatusBadRequest: "invalidSyntax", http.StatusConflict: "uniqueness"}[status]
	if e, ok := errors.AsType[*Error](err); ok {
		scimType = e.Type
	} else if _, ok := errors.AsType[*storage.InvalidError](err); ok {
		scimType = "invalidValue"
	}
	send(w, status, struct {
		Schemas []string `json:"schemas"`
		Status  string   `json:"status"`
		Type    string   `json:"scimType,omitempty"`
		Detail  string   `json:"detail"`
	}{[]string{errorSchema}, strconv.Itoa(status), scimType, message})
}

// send sends a value as JSON of SCIM.
func send(w http.ResponseWriter, status int, v any) error {
	b, err := reply.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
	return nil
}

// listing is a page of a list.
type listing struct {
	Schemas []string `json:"schemas"`
	Total   int      `json:"totalResults"`
	Start   int      `json:"startIndex"`
	PerPage int      `json:"itemsPerPage"`
	Users   []user   `json:"Resources"`
}

// user is a user on the wire.
type user struct {
	Schemas     []string `json:"schemas"`
	ID          string   `json:"id"`
	ExternalID  string   `json:"externalId,omitempty"`
	UserName    string   `json:"userName"`
	DisplayName string   `json:"displayName,omitempty"`
	Active      bool     `json:"active"` // whether the tokens work
	Meta        meta     `json:"meta"`
}

type meta struct {
	Type     string `json:"resourceType"`
	Created  string `json:"created,omitempty"`
	Modified string `json:"lastModified,omitempty"`
	Location string `json:"location"`
}

// show shows a user to its provider.
func (s *SCIM) show(r *route.Request, c *caller, u storage.User) user {
	external := ""
	for _, subject := range append(u.Subjects(c.source), u.Subjects(c.provider)...) {
		if subject != u.ID.Opaque() {
			external = subject
			break
		}
	}
	return user{
		Schemas: []string{userURN}, ID: u.ID.Opaque(), ExternalID: external, UserName: u.UID, DisplayName: u.Name,
		Active: u.State == storage.UserActive,
		Meta: meta{
			Type: "User", Created: stamp(u.Created), Modified: stamp(max(u.Created, u.StateAt)),
			Location: s.url(r, "/Users/"+u.ID.Opaque()),
		},
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// url returns the URL of something here.
func (s *SCIM) url(r *route.Request, path string) string {
	origin := s.Config().Origin()
	if origin == "" {
		scheme := "http"
		if s.Config().Secure() {
			scheme = "https"
		}
		origin = scheme + "://" + r.Host
	}
	return origin + Path + path
}
