package cli

import (
	"context"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func userLink(env Env) *cobra.Command {
	return userIdentity(env, "link", "Tie another identity to a user", "%s is now also %s of %s.", (*api.Client).LinkUser)
}

func userUnlink(env Env) *cobra.Command {
	return userIdentity(env, "unlink", "Take an identity from a user again, and end the user's sessions", "%s is no longer %s of %s.", (*api.Client).UnlinkUser)
}

func userIdentity(env Env, verb, short, said string, call func(*api.Client, context.Context, string, api.Identity) error) *cobra.Command {
	three := func(c *cobra.Command, args []string) error {
		if len(args) != 3 {
			return Usagef("%s takes a UID, a SOURCE such as ldap, and a SUBJECT such as an entryUUID", c.CommandPath())
		}
		return nil
	}
	return command(verb+" UID SOURCE SUBJECT", short, three, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			if err := call(c, ctx, args[0], api.Identity{Source: args[1], Subject: args[2]}); err != nil {
				return err
			}
			env.say(said, text.Escape(args[0]), text.Escape(args[2]), text.Escape(args[1]))
			return nil
		}))
}
