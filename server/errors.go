package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/oauth"
	"gatehouse/storage"
)

// httpError is an error that brings its status; the client sees the message.
type httpError struct {
	status  int
	message string
	retry   time.Duration // for Retry-After; 0: none
}

func (e *httpError) Error() string { return e.message }

// refuse returns an httpError.
func refuse(status int, format string, args ...any) error {
	return &httpError{status: status, message: fmt.Sprintf(format, args...)}
}

// noCredentials is what all are told who have no usable credential.
const noCredentials = "Credentials required"

// Clients are shown these as they are.
var (
	//lint:ignore ST1005 the documented API has it so
	errCredentials = errors.New(noCredentials)
	//lint:ignore ST1005 the documented API has it so
	errInvalid = errors.New("Invalid credentials")
	//lint:ignore ST1005 a sentence, as the others
	errOrigin = errors.New("Requests from another site are refused")
)

// statuses maps errors to what the client is told. An error that is neither here
// nor an httpError is an internal one, and its text goes to the log alone.
var statuses = []struct {
	err     error
	status  int
	message string // empty: the error's own
}{
	{errCredentials, http.StatusUnauthorized, ""},
	{errInvalid, http.StatusUnauthorized, ""},
	{errOrigin, http.StatusForbidden, ""},
	{storage.ErrRefused, http.StatusUnauthorized, errCredentials.Error()},
	{storage.ErrNoSession, http.StatusUnauthorized, errCredentials.Error()},
	{storage.ErrNoUser, http.StatusNotFound, ""},
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
	{storage.ErrDamaged, http.StatusServiceUnavailable, "The store is not available"},
	{oauth.ErrUnavailable, http.StatusServiceUnavailable, "The provider is not available: try again later"},
	{oauth.ErrNoCheck, http.StatusForbidden, "This provider can't say whom a token was issued to: log in with a browser instead"},
	{oauth.ErrNotNow, http.StatusServiceUnavailable, "The provider is not available: try again later"},
	{oauth.ErrDenied, http.StatusForbidden, "The login was given up at the provider"},
	{ldap.ErrUnavailable, http.StatusServiceUnavailable, "The directory is not available: try again later"},
	{context.Canceled, http.StatusServiceUnavailable, "The request was given up"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "The request took too long"},
}

// statusOf finds the status and the message of an error.
func statusOf(err error) (status int, message string) {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.status, e.message
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
	return http.StatusInternalServerError, "Internal error"
}

// unlessGone replaces the error of a user who was disabled or removed while the
// request was under way by refusal: what the next request will be told.
func unlessGone(err, refusal error) error {
	if errors.Is(err, storage.ErrNoUser) {
		return refusal
	}
	return err
}
