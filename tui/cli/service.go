package cli

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

func serviceCommand(env Env) *cobra.Command {
	return Group("service", "List, add and hand over service accounts",
		serviceAdd(env), serviceList(env), serviceShow(env), serviceTransfer(env), serviceRemove(env))
}

// jsonService is a line of --json, as export.User is.
type jsonService struct {
	UID         string `json:"uid"`
	Description string `json:"description"`
	Owner       string `json:"owner"`
	Successor   string `json:"successor"`
	Orphaned    bool   `json:"orphaned"`
	State       string `json:"state"`
	Created     int64  `json:"created"`
	Tokens      int    `json:"tokens"`
	LastUsed    int64  `json:"lastUsed"`
}

func serviceLine(s api.Service) jsonService {
	return jsonService{s.UID, s.Description, s.Owner, s.Successor, s.Orphaned, s.State, s.Created, s.Tokens, s.LastUsed}
}

// ownerOf is the owner in a table, or the word for an account without one.
func ownerOf(a api.Answering) string { return cmp.Or(a.Owner, "orphaned") }

func serviceCells(s api.Service) []string {
	return []string{
		s.UID, ownerOf(s.Answering), dash(s.Successor), dash(s.Description), s.State, moment(s.Created), strconv.Itoa(s.Tokens),
		lastUse(api.User{Tokens: s.Tokens, LastUsed: s.LastUsed}),
	}
}

func serviceAdd(env Env) *cobra.Command {
	var n api.NewService
	c := command("add NAME", "Add a service account, for a program that outlives its owner", One("NAME"), env.with(func(ctx context.Context, c *api.Client, args []string) error {
		n.Name = args[0]
		s, err := c.AddService(ctx, n)
		if err != nil {
			return err
		}
		env.say("Added %s. Its owner is %s. Make it a token: gatehouse token create --user %[1]s", text.Escape(s.UID), text.Escape(s.Owner))
		return nil
	}))
	c.PreRunE = func(cmd *cobra.Command, _ []string) error { return needs(cmd, "owner", n.Owner) }
	c.Long = `Add a service account, whose uid is NAME@service. It has tokens, but no password and
no login. While the owner is stopped, its tokens work. When the owner is removed, the
successor owns it; without one it is orphaned, and its tokens still work.`
	c.Flags().StringVar(&n.Owner, "owner", "", "the user who owns it (required)")
	c.Flags().StringVar(&n.Successor, "successor", "", "the user who owns it once the owner is removed")
	c.Flags().StringVar(&n.Description, "description", "", "what it is for")
	return c
}

func serviceList(env Env) *cobra.Command {
	var owner string
	var f form
	c := command("list", "List service accounts, and who owns them", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		return list(env, c.Services(ctx, owner), f, serviceLine, serviceCells, "", "UID", "OWNER", "SUCCESSOR", "DESCRIPTION", "STATE", "CREATED", "TOKENS", "LAST USED")
	}))
	c.Flags().StringVar(&owner, "owner", "", "only those that this user owns")
	f.flags(c)
	c.PreRunE = f.check
	return c
}

func serviceShow(env Env) *cobra.Command {
	var asJSON bool
	c := command("show NAME", "Show a service account, and its tokens", One("NAME"), env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			s, err := c.Service(ctx, args[0])
			if err != nil {
				return err
			}
			tokens := c.Tokens(ctx, api.TokenQuery{Filters: api.Where("user", s.UID), Revoked: true})
			if asJSON {
				return printNested(env.Out, serviceLine(s), "apiTokens", tokens, export.TokenLine)
			}
			t := text.NewTable(env.Out, "uid", s.UID)
			t.Row("owner", ownerOf(s.Answering))
			t.Row("successor", dash(s.Successor))
			t.Row("description", dash(s.Description))
			t.Row("state", s.State)
			t.Row("created", moment(s.Created))
			t.Row("tokens", strconv.Itoa(s.Tokens))
			t.Row("last used", lastUse(api.User{Tokens: s.Tokens, LastUsed: s.LastUsed}))
			if err := t.Flush(); err != nil {
				return err
			}
			return env.table(rowsOf(tokens, serviceTokenCells), "\n", "ID", "NAME", "CREATED", "CREATED BY", "LAST USED", "FROM", "EXPIRES", "STATE")
		}))
	jsonFlag(c, &asJSON, "print one object: the account, with its tokens")
	return c
}

// serviceTokenCells also has who made the token, in the place of the user.
func serviceTokenCells(t api.Token) []string {
	all := tokenCells(t)
	return []string{all[0], all[2], all[3], dash(t.CreatedBy), all[4], all[5], all[6], all[7]}
}

func serviceTransfer(env Env) *cobra.Command {
	var in api.Transfer
	var successor string
	var none bool
	c := command("transfer NAME", "Give a service account to another owner", One("NAME"), env.with(func(ctx context.Context, c *api.Client, args []string) error {
		if none || successor != "" {
			in.Successor = &successor
		}
		s, err := c.TransferService(ctx, args[0], in)
		if err != nil {
			return err
		}
		env.say("%s is now owned by %s.", text.Escape(s.UID), text.Escape(s.Owner))
		return nil
	}))
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if in.Owner != "" && none && successor != "" {
			return Usagef("--successor and --no-successor can't be combined")
		}
		return needs(cmd, "owner", in.Owner)
	}
	c.Long = "Give a service account to another owner. The tokens stay. The successor stays too, unless\nthat is the new owner."
	c.Flags().StringVar(&in.Owner, "owner", "", "the new owner (required)")
	c.Flags().StringVar(&successor, "successor", "", "the user who owns it once the owner is removed")
	c.Flags().BoolVar(&none, "no-successor", false, "nobody owns it once the owner is removed")
	return c
}

func serviceRemove(env Env) *cobra.Command {
	agreed := consent{env: env}
	c := command("remove NAME", "Remove a service account and revoke its tokens for good", One("NAME"), env.with(by(api.Admin, func(ctx context.Context, c *api.Client, args []string) error {
		s, err := c.Service(ctx, args[0])
		if err != nil {
			return err
		}
		if err := agreed.ask(ctx, fmt.Sprintf("Remove %s and revoke %s for good?", text.Escape(s.UID), Count(s.Tokens, "token"))); err != nil {
			return err
		}
		if err := c.RemoveService(ctx, s.UID); err != nil {
			return err
		}
		env.say("Removed %s; %s revoked.", text.Escape(s.UID), Count(s.Tokens, "token"))
		return nil
	})))
	c.Long = "Remove a service account and revoke its tokens for good. The command asks first. Without\na terminal it needs --yes."
	agreed.required(c)
	return c
}

// mostServices is how many service accounts a question names.
const mostServices = 20

// sayServices says what becomes of the service accounts that a user owns, once the user is
// removed.
func (env Env) sayServices(rows iter.Seq2[api.Service, error]) error {
	n := 0
	for s, err := range rows {
		if err != nil {
			return err
		}
		switch n++; {
		case n > mostServices:
		case s.Successor != "":
			env.say("%s would pass to %s.", text.Escape(s.UID), text.Escape(s.Successor))
		default:
			env.say("%s would be orphaned: its tokens would still work, and nobody would own it.", text.Escape(s.UID))
		}
	}
	if n > mostServices {
		env.say("… and %s more", Count(n-mostServices, "service account"))
	}
	return nil
}
