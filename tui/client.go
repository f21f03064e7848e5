package tui

import (
	"context"
	"errors"
	"iter"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// client is what the screens ask of the server. *api.Client is one.
type client interface {
	Status(context.Context) (api.Status, error)
	Users(context.Context, api.UserQuery) iter.Seq2[api.User, error]
	User(ctx context.Context, uid string) (api.UserDetail, error)
	AddUser(context.Context, api.NewUser) (string, error)
	SetPassword(ctx context.Context, uid, password string) (string, error)
	DisableUser(ctx context.Context, uid string) error
	EnableUser(ctx context.Context, uid string) error
	Tokens(context.Context, api.TokenQuery) iter.Seq2[api.Token, error]
	Revoke(context.Context, api.Revocation) (api.Revoked, error)
}

var _ client = (*api.Client)(nil)

// unreachable reports whether err means that nobody answers, as opposed to a
// refusal by a server that does.
func unreachable(err error) bool {
	refusal := new(api.Error)
	return err != nil && !errors.As(err, &refusal) && !errors.Is(err, context.Canceled)
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
