package reply

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/server/oauth"
	"gatehouse/storage"
)

// Error is an error with its own status. The client sees the message.
type Error struct {
	Status  int
	Message string
	Field   string        // of the request, if one is wrong: the message begins with it and a colon
	Retry   time.Duration // for Retry-After; 0: none
}

func (e *Error) Error() string { return e.Message }

// Refuse returns an Error.
func Refuse(status int, format string, args ...any) error {
	return &Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// NoCredentials is the message for every request without a usable credential.
const NoCredentials = "Credentials required"

// Internal is the message for a fault of the server, whose reason only the log has.
const Internal = "Internal error: an administrator can find the reason in the log"

// Clients see the text of these errors as it is.
var (
	//lint:ignore ST1005 the documented API has this text
	ErrCredentials = errors.New(NoCredentials)
	//lint:ignore ST1005 the documented API has this text
	ErrInvalid = errors.New("Invalid credentials")
	//lint:ignore ST1005 a sentence, like the others
	ErrOrigin = errors.New("Requests from another site are refused")
)

// The errors of requests that no route serves.
var (
	ErrMethod  = Refuse(http.StatusMethodNotAllowed, "Method not allowed: see the header Allow")
	ErrNoRoute = Refuse(http.StatusNotFound, api.NoRoute)
)

// statuses maps errors to what the client is told. An error that is neither here
// nor an Error is an internal one, and its text goes to the log alone.
var statuses = []struct {
	err     error
	status  int
	message string // empty: the error's own
}{
	{ErrCredentials, http.StatusUnauthorized, ""},
	{ErrInvalid, http.StatusUnauthorized, ""},
	{ErrOrigin, http.StatusForbidden, ""},
	{storage.ErrRefused, http.StatusUnauthorized, ErrCredentials.Error()},
	{storage.ErrNoSession, http.StatusUnauthorized, ErrCredentials.Error()},
	{storage.ErrNoUser, http.StatusNotFound, ""},
	{storage.ErrNoService, http.StatusNotFound, ""},
	{storage.ErrService, http.StatusConflict, ""},
	{storage.ErrNoToken, http.StatusNotFound, ""},
	{storage.ErrNoIdentity, http.StatusNotFound, ""},
	{storage.ErrAmbiguous, http.StatusBadRequest, ""},
	{storage.ErrTooMany, http.StatusForbidden, ""},
	{storage.ErrWornOut, http.StatusConflict, ""},
	{storage.ErrUserExists, http.StatusConflict, ""},
	{storage.ErrOtherAccount, http.StatusConflict, ""},
	{storage.ErrNoAddress, http.StatusForbidden, ""},
	{storage.ErrLinked, http.StatusConflict, ""},
	{storage.ErrNotLocal, http.StatusConflict, ""},
	{storage.ErrFailed, http.StatusServiceUnavailable, "The disk is not available: nothing can be changed"},
	{storage.ErrNoSpace, http.StatusServiceUnavailable, "The disk is full: until there is room, tokens can only be used and revoked"},
	{storage.ErrNoDirectory, http.StatusServiceUnavailable, "The data directory was moved or removed: until it is back, nothing can be changed"},
	{storage.ErrUnavailable, http.StatusServiceUnavailable, "The store can't do this at the moment: try again"},
	{storage.ErrClosed, http.StatusServiceUnavailable, "The server is stopping"},
	{storage.ErrOpening, http.StatusServiceUnavailable, "The server is starting"},
	{storage.ErrDamaged, http.StatusServiceUnavailable, "The store is not available: ask an administrator"},
	{oauth.ErrUnavailable, http.StatusServiceUnavailable, "The provider is not available: try again later"},
	{oauth.ErrNoCheck, http.StatusForbidden, "This provider can't say whom a token was issued to: log in with a browser instead"},
	{oauth.ErrNotNow, http.StatusServiceUnavailable, "The provider is not available: try again later"},
	{oauth.ErrDenied, http.StatusForbidden, "The login was cancelled at the provider: log in again"},
	{ldap.ErrUnavailable, http.StatusServiceUnavailable, "The directory is not available: try again later"},
	{context.Canceled, http.StatusServiceUnavailable, "The request was cancelled"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "The request took too long: try again"},
}

// Status returns the status and the message that a client gets for an error.
func Status(err error) (status int, message string) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status, e.Message
	}
	if e, ok := errors.AsType[*storage.InvalidError](err); ok {
		return http.StatusBadRequest, e.Message
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "The body is larger than 64 KiB"
	}
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			if row.message == "" {
				return row.status, row.err.Error()
			}
			return row.status, row.message
		}
	}
	return http.StatusInternalServerError, Internal
}

// UnlessGone returns refusal if err says that the user was disabled or removed during
// the request: the next request gets that answer too. Otherwise it returns err.
func UnlessGone(err, refusal error) error {
	if errors.Is(err, storage.ErrNoUser) {
		return refusal
	}
	return err
}

// Gone reports whether the client went away or stopped reading, and err is the result.
func Gone(r *http.Request, err error) bool {
	return r.Context().Err() != nil || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// Sentence returns s with a capital at the start, unless it begins with the name of a
// field, which stays as clients write it.
func Sentence(s string) string {
	if word, _, _ := strings.Cut(s, " "); strings.HasSuffix(word, ":") {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
