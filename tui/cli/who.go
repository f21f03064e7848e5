package cli

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// whoCommand prints as whom the commands act, and what the role allows.
func whoCommand(env Env) *cobra.Command {
	env.Person = false // it would say all twice
	return command("whoami", "Print as whom you administer, and what you may do", None, env.with(
		func(ctx context.Context, c *api.Client, _ []string) error {
			who, err := c.Who(ctx)
			if err == nil {
				_, err = fmt.Fprintln(env.Out, text.Escape(who.String()))
			}
			return err
		}))
}

// by returns do for people whose role covers least. The server enforces roles; by is for
// commands that ask, print or read something before they call the server, all of which
// would be in vain.
func by(least api.Role, do action) action {
	return func(ctx context.Context, c *api.Client, args []string) error {
		who, err := c.Who(ctx)
		if err != nil {
			return err
		}
		if !who.Role.Covers(least) {
			return &api.Error{Status: http.StatusForbidden, Message: who.Refusal(least)}
		}
		return do(ctx, c, args)
	}
}

// sayRole tells a person who may not do everything. An error is left to the command.
func (env Env) sayRole(ctx context.Context, c *api.Client) {
	if who, err := c.Who(ctx); err == nil && who.Role != api.Admin {
		env.say("%s.", text.Escape(who.String()))
	}
}
