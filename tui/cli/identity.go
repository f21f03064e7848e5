package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func userLink(env Env) *cobra.Command {
	var unchecked bool
	c := userIdentity(env, "link", "Tie another identity to a user", func(ctx context.Context, c *api.Client, uid string, id api.Identity) error {
		made, err := c.LinkUser(ctx, uid, api.Link{Identity: id, Unchecked: unchecked})
		if err != nil {
			return err
		}
		env.say("%s is now also %s of %s (%s).", text.Escape(uid), text.Escape(made.Subject), text.Escape(made.Source),
			text.Escape(cmp.Or(made.Checked, "not checked")))
		return nil
	})
	c.Long = `Tie another identity to a user. The source is ldap or a provider's name. The directory
must have the subject. Providers can't be asked: only the form is checked, if the
provider's subjects have one. The command says what was checked. A user linked to a
subject that the directory does not have is suspended two sweeps later.`
	c.Flags().BoolVar(&unchecked, "unchecked", false, "link it even if the source does not have the subject, or can't be asked now")
	return c
}

func userUnlink(env Env) *cobra.Command {
	return userIdentity(env, "unlink", "Take an identity away from a user, and end the user's sessions", func(ctx context.Context, c *api.Client, uid string, id api.Identity) error {
		if err := c.UnlinkUser(ctx, uid, id); err != nil {
			return err
		}
		env.say("%s is no longer %s of %s.", text.Escape(uid), text.Escape(id.Subject), text.Escape(id.Source))
		return nil
	})
}

func userIdentity(env Env, verb, short string, call func(ctx context.Context, c *api.Client, uid string, id api.Identity) error) *cobra.Command {
	three := func(c *cobra.Command, args []string) error {
		if len(args) != 3 {
			return Usagef("%s takes a UID, a SOURCE such as ldap, and a SUBJECT such as an entryUUID", c.CommandPath())
		}
		return nil
	}
	return command(verb+" UID SOURCE SUBJECT", short, three, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			return call(ctx, c, args[0], api.Identity{Source: args[1], Subject: args[2]})
		}))
}
