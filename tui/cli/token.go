package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func tokenCommand(env Env) *cobra.Command {
	return Group("token", "List, make and revoke tokens",
		tokenList(env), tokenShow(env), tokenCreate(env), tokenRotate(env), tokenRename(env), tokenRevoke(env))
}

// listing is what the commands that list have in common.
type listing struct {
	filters api.Filters
	sort    sorting
	limit   int
	form    form
}

// flags adds them to a command.
func (l *listing) flags(c *cobra.Command, forms []api.FilterForm, keys ...api.Order) {
	c.PreRunE = l.check
	l.filters = filterFlags(c, forms)
	l.sort.flag(c, keys...)
	c.Flags().IntVar(&l.limit, "limit", 0, "print at most N")
	l.form.flags(c)
}

// check rejects bad values, except of filters, which the server checks.
func (l *listing) check(c *cobra.Command, _ []string) error {
	if l.limit < 0 || l.limit == 0 && c.Flags().Changed("limit") {
		return Usagef("--limit: %d is not a number of rows", l.limit)
	}
	_, _, err := l.sort.order()
	return cmp.Or(l.form.check(c, nil), err)
}

func tokenList(env Env) *cobra.Command {
	var l listing
	c := command("list", "List tokens, also revoked ones, the longest unused first", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		order, reverse, _ := l.sort.order()
		return env.tokens(c.Tokens(ctx, api.TokenQuery{Filters: l.filters, Revoked: true, Order: order, Reverse: reverse, Limit: l.limit}), l.form, "")
	}))
	c.Long = "List tokens, also revoked ones, the longest unused first. Several filters mean and." + times
	l.flags(c, api.TokenFilters, api.ByLastUsed, api.ByCreated)
	return c
}

// times explains the T of filters.
const times = `

T is a time (2026-11-29T15:04:05Z, RFC 3339), a date (2026-11-29, its beginning on the
server's clock), or a span ago (36h, 90d). SPAN is a number with y,
w, d, h, m (minutes) or s.`

func tokenCreate(env Env) *cobra.Command {
	var r api.TokenRequest
	c := command("create", "Make a token for a user and print it", None, env.handingOut(api.Operator,
		func(ctx, call context.Context, c *api.Client, _ []string) error {
			t, err := c.CreateToken(call, r)
			if err != nil {
				return err
			}
			if err := env.deliver(ctx, t.Secret); err != nil {
				if _, bad := c.Revoke(call, api.Revocation{IDs: []string{t.ID}}); bad != nil {
					return fmt.Errorf("token %s could not be printed (%w) and could not be revoked either: %v", t.ID, err, bad)
				}
				return fmt.Errorf("token %s could not be printed, so it is revoked: %w", t.ID, err)
			}
			env.say("Token %s of %s expires: %s.", text.Escape(t.ID), text.Escape(t.UID), expiry(t.ExpiresOn))
			if t.Warning != "" {
				env.say("Check the scopes: %s.", text.Escape(t.Warning))
			}
			return nil
		}))
	c.Flags().StringVar(&r.UID, "user", "", "the user (required)")
	c.Flags().StringVar(&r.Name, "name", "", "what the token is for")
	c.Flags().StringVar(&r.ExpiresIn, "expires", "", `how long it works, such as "90d" (default: the server's setting)`)
	c.Flags().StringArrayVar(&r.Scopes, "scope", nil, "limit the token to this scope; may be repeated")
	c.Flags().StringArrayVar(&r.Addresses, "address", nil, `limit the token to these addresses, such as "10.0.0.0/8"; may be repeated`)
	c.PreRunE = func(cmd *cobra.Command, _ []string) error { return needs(cmd, "user", r.UID) }
	return c
}

func tokenRotate(env Env) *cobra.Command {
	var overlap string
	c := command("rotate ID", "Give a token a new secret and print it", oneToken, env.handingOut(api.Operator,
		func(ctx, call context.Context, c *api.Client, args []string) error {
			// The old secret must work until the new one is printed, so its end is set after that.
			t, err := c.RotateToken(call, args[0], api.Rotation{Overlap: overlap, Hold: true})
			if err != nil {
				return err
			}
			if err := env.deliver(ctx, t.Secret); err != nil {
				return fmt.Errorf("the new secret of token %s could not be printed; the old one works for up to 30 days more: run the command again: %w", t.ID, err)
			}
			if _, err := c.RotateToken(call, t.ID, api.Rotation{Overlap: overlap}); err != nil {
				return fmt.Errorf("the new secret of token %s is printed, but the old one has no end yet: run the command again: %v", t.ID, err)
			}
			end := "no longer works"
			if overlap != "0" && overlap != "0s" {
				end = "works until this one is first used, at most " + overlap + " longer"
			}
			env.say("The old secret of token %s of %s %s.", text.Escape(t.ID), text.Escape(t.UID), text.Escape(end))
			return nil
		}))
	c.Flags().StringVar(&overlap, "overlap", "24h", `how long the old secret keeps working, unless the new one is used first; "0" ends it at once`)
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

// oneToken takes the ID of a token. A whole token must not appear in messages or
// logs.
func oneToken(c *cobra.Command, args []string) error {
	if err := One("ID")(c, args); err != nil {
		return err
	}
	return checkID(args[0])
}

// known fails with the server's 404 unless the user exists (or uid is empty). An
// empty listing for a mistyped name would look as if all were well.
func known(ctx context.Context, c *api.Client, uid string) error {
	if uid == "" {
		return nil
	}
	_, err := c.User(ctx, uid)
	return err
}
