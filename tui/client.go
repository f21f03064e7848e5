package tui

import (
	"context"
	"errors"
	"iter"

	"gatehouse/server/api"
)

// client is what the screens ask of the server. *api.Client is one.
type client interface {
	Status(context.Context) (api.Status, error)
	Users(context.Context, api.UserQuery) iter.Seq2[api.User, error]
	User(ctx context.Context, uid string) (api.User, error)
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
