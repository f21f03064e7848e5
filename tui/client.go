package tui

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// client is what the screens ask of the server. *api.Client is one.
type client interface {
	Status(context.Context) (api.Status, error)
	Users(context.Context, api.UserQuery) iter.Seq2[api.User, error]
	UserCount(context.Context, api.UserQuery) (api.Count, error)
	User(ctx context.Context, uid string) (api.UserDetail, error)
	AddUser(context.Context, api.NewUser) (string, error)
	SetPassword(ctx context.Context, uid, password string) (string, error)
	DisableUser(ctx context.Context, uid string) error
	EnableUser(ctx context.Context, uid string) error
	UnlockUser(ctx context.Context, uid string) error
	Tokens(context.Context, api.TokenQuery) iter.Seq2[api.Token, error]
	TokenCount(context.Context, api.TokenQuery) (api.Count, error)
	Token(ctx context.Context, id string) (api.TokenDetail, error)
	Revoke(context.Context, api.Revocation) (api.Revoked, error)
	RevokeMatching(context.Context, api.BulkRevocation) iter.Seq2[api.Progress, error]
	StopRevocation(ctx context.Context, job string) error
	Events(context.Context, api.EventQuery) iter.Seq2[api.Event, error]
	History(context.Context, api.HistoryQuery) (api.History, error)
}

var _ client = (*api.Client)(nil)

// unreachable reports whether err means that nobody answers, as opposed to a
// refusal by a server that does.
func unreachable(err error) bool {
	refusal := new(api.Error)
	return err != nil && !errors.As(err, &refusal) && !errors.Is(err, context.Canceled)
}

// missing reports whether err says that there is no such thing.
func missing(err error) bool { return refused(err, http.StatusNotFound) }

// conflicting reports whether err says that things have changed meanwhile.
func conflicting(err error) bool { return refused(err, http.StatusConflict) }

func refused(err error, status int) bool {
	refusal := new(api.Error)
	return errors.As(err, &refusal) && refusal.Status == status
}

// explain says what went wrong in as few words as do.
func explain(err error) string {
	nobody := new(api.UnreachableError)
	switch {
	case errors.As(err, &nobody):
		return "no server answers on " + text.Escape(nobody.Socket)
	case errors.Is(err, context.DeadlineExceeded):
		return "the server does not answer in time"
	}
	return text.Escape(err.Error())
}
