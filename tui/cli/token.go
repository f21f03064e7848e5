package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func tokenCommand(env Env) *cobra.Command {
	return Group("token", "See, make and revoke API access tokens",
		tokenList(env), tokenShow(env), tokenCreate(env), tokenRotate(env), tokenRename(env), tokenRevoke(env))
}

// selection adds the flags that select tokens to a command.
func selection(c *cobra.Command, q *api.TokenQuery) {
	c.Flags().StringVar(&q.User, "user", "", "only tokens of this UID")
	c.Flags().StringVar(&q.Idle, "idle", "", `only tokens unused for at least so long, such as "90d" or "1y"`)
	c.Flags().BoolVar(&q.NeverUsed, "never-used", false, "only tokens that were never used")
}

func tokenList(env Env) *cobra.Command {
	var q api.TokenQuery
	var asJSON bool
	c := command("list", "List tokens, the revoked too, the longest unused first", None, env.with(
		func(ctx context.Context, c *api.Client, _ []string) error {
			if err := known(ctx, c, q.User); err != nil {
				return err
			}
			q.Revoked = true
			return env.tokens(c.Tokens(ctx, q), asJSON, "")
		}))
	selection(c, &q)
	jsonFlag(c, &asJSON, "print one object a line")
	return c
}

func tokenCreate(env Env) *cobra.Command {
	var r api.TokenRequest
	c := command("create", "Make a token for a user and print it", None, env.handingOut(
		func(ctx, call context.Context, c *api.Client, _ []string) error {
			t, err := c.CreateToken(call, r)
			if err != nil {
				return err
			}
			if err := env.deliver(ctx, t.Secret); err != nil {
				if _, bad := c.Revoke(call, api.Revocation{IDs: []string{t.ID}}); bad != nil {
					return fmt.Errorf("token %s could not be printed (%w), nor revoked: %v", t.ID, err, bad)
				}
				return fmt.Errorf("token %s could not be printed, and is revoked again: %w", t.ID, err)
			}
			env.say("Token %s of %s expires: %s.", text.Escape(t.ID), text.Escape(t.UID), expiry(t.ExpiresOn))
			if t.Warning != "" {
				env.say("Check the scopes: %s.", text.Escape(t.Warning))
			}
			return nil
		}))
	c.Flags().StringVar(&r.UID, "user", "", "whose token (required)")
	c.Flags().StringVar(&r.Name, "name", "", "what it is for")
	c.Flags().StringVar(&r.ExpiresIn, "expires", "", `how long it works, such as "90d" (the default is the server's)`)
	c.Flags().StringArrayVar(&r.Scopes, "scope", nil, "limit it to this scope; may be repeated")
	c.Flags().StringArrayVar(&r.Addresses, "address", nil, `limit it to these addresses, such as "10.0.0.0/8"; may be repeated`)
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if r.UID == "" {
			return Usagef("%s needs --user UID", cmd.CommandPath())
		}
		return run(cmd, args)
	}
	return c
}

func tokenRotate(env Env) *cobra.Command {
	var overlap string
	c := command("rotate ID", "Give a token a new secret and print it", oneToken, env.handingOut(
		func(ctx, call context.Context, c *api.Client, args []string) error {
			// The old secret must work until the new one is printed, so its end is set after that.
			t, err := c.RotateToken(call, args[0], api.Rotation{Overlap: overlap, Hold: true})
			if err != nil {
				return err
			}
			if err := env.deliver(ctx, t.Secret); err != nil {
				return fmt.Errorf("the new secret of token %s could not be printed, and the old one works on for up to 30 days: run the command again: %w", t.ID, err)
			}
			if _, err := c.RotateToken(call, t.ID, api.Rotation{Overlap: overlap}); err != nil {
				return fmt.Errorf("the new secret of token %s is printed, but the end of the old one is not set: run the command again: %w", t.ID, err)
			}
			end := "no longer works"
			if overlap != "0" && overlap != "0s" {
				end = "works until this one is first used, at most " + overlap + " longer"
			}
			env.say("The old secret of token %s of %s %s.", text.Escape(t.ID), text.Escape(t.UID), text.Escape(end))
			return nil
		}))
	c.Flags().StringVar(&overlap, "overlap", "24h", `how long the old secret works beside the new one, unless that is used before; "0" ends it at once`)
	return c
}

func tokenRename(env Env) *cobra.Command {
	two := func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return Usagef("%s takes an ID, and a NAME", c.CommandPath())
		}
		return oneToken(c, args[:1])
	}
	return command("rename ID NAME", "Give a token another name", two, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			if err := c.RenameToken(ctx, args[0], args[1]); err != nil {
				return err
			}
			env.say("Renamed token %s.", text.Escape(args[0]))
			return nil
		}))
}

// oneToken takes the ID of a token. A whole token is not to be repeated in messages or
// logs.
func oneToken(c *cobra.Command, args []string) error {
	if err := One("ID")(c, args); err != nil {
		return err
	}
	if len(args[0]) == tokenLen {
		return errWholeToken
	}
	return nil
}

// known fails with the server's 404 unless the user exists (or uid is empty). For a
// mistyped name an empty listing would say that all is well.
func known(ctx context.Context, c *api.Client, uid string) error {
	if uid == "" {
		return nil
	}
	_, err := c.User(ctx, uid)
	return err
}
