package cli

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

func userCommand(env Env) *cobra.Command {
	return Group("user", "List, add and change users",
		userAdd(env), userList(env), userShow(env), userPasswd(env),
		userSwitch(env, "disable", "Stop all tokens and sessions of a user", (*api.Client).DisableUser),
		userSwitch(env, "enable", "Let a disabled user's tokens and logins work again", (*api.Client).EnableUser),
		userUnlock(env), userRename(env), userRemove(env), userLink(env), userUnlink(env), userOffboard(env))
}

func userAdd(env Env) *cobra.Command {
	var stdin bool
	var name string
	c := command("add UID", "Add a local user", One("UID"), env.handingOut(api.Admin,
		func(ctx, call context.Context, c *api.Client, args []string) error {
			given, err := env.password(ctx, stdin)
			if err != nil {
				return err
			}
			made, err := c.AddUser(call, api.NewUser{UID: args[0], Name: name, Password: given})
			if err != nil {
				return err
			}
			if given == "" {
				if err := env.deliver(ctx, made.Password); err != nil {
					if bad := c.RemoveUser(call, args[0]); bad != nil {
						return fmt.Errorf("the password of %s could not be printed (%w), and the user could not be removed either: %v", args[0], err, bad)
					}
					return fmt.Errorf("the password of %s could not be printed, so the user is removed again: %w", args[0], err)
				}
			}
			env.say("Added %s.%s", text.Escape(args[0]), shownOnce(given))
			env.sayUnusable(made)
			return nil
		}))
	c.Long = "Add a user with a password kept here. On a terminal the command asks for the password;\notherwise, or if you leave it empty, it makes one and prints it."
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	Twins(c, "password-stdin")
	c.Flags().StringVar(&name, "name", "", "the person's name")
	return c
}

func userPasswd(env Env) *cobra.Command {
	var stdin bool
	c := command("passwd UID", "Set a user's password", One("UID"), env.handingOut(api.Operator,
		func(ctx, call context.Context, c *api.Client, args []string) error {
			u, err := c.User(ctx, args[0])
			if err != nil {
				return err
			}
			given := ""
			if u.Source == "local" { // others have no password here, and the server says so
				if given, err = env.password(ctx, stdin); err != nil {
					return err
				}
			}
			var set api.Password
			if given == "" {
				set, err = env.makePassword(ctx, call, c, u.User)
			} else {
				set, err = c.SetPassword(call, u.UID, given)
			}
			if err != nil {
				return err
			}
			env.say("Changed the password of %s and ended the user's sessions. Tokens still work.%s", text.Escape(args[0]), shownOnce(given))
			env.sayUnusable(set)
			return nil
		}))
	c.Long = "Set a user's password and end the user's sessions. On a terminal the command asks for\nthe password; otherwise, or if you leave it empty, it makes one and prints it."
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	Twins(c, "password-stdin")
	return c
}

// makePassword makes a password, prints it, and then sets it. It prints first, because the
// old password is gone once the new one is set.
func (env Env) makePassword(ctx, call context.Context, c *api.Client, u api.User) (set api.Password, err error) {
	made := rand.Text()
	printed := u.Source == "local"
	if printed {
		if err := env.deliver(ctx, made); err != nil {
			return set, fmt.Errorf("the new password of %s could not be printed, so the old one stays: %w", u.UID, err)
		}
	}
	set, err = c.SetPassword(call, u.UID, made)
	if err != nil && printed {
		return set, fmt.Errorf("the password that was printed is not set: %w", err)
	}
	return set, err
}

// sayUnusable warns of a password with which nobody can log in.
func (env Env) sayUnusable(p api.Password) {
	if p.Unusable {
		env.say("Nobody can log in with this password: logins.local is false in the configuration.")
	}
}

// shownOnce says that the password is shown only once, unless it was given.
func shownOnce(given string) string {
	if given != "" {
		return ""
	}
	return " The password is shown only once."
}

func userList(env Env) *cobra.Command {
	var l listing
	c := command("list", "List users", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		order, reverse, _ := l.sort.order()
		return list(env, c.Users(ctx, api.UserQuery{Filters: l.filters, Order: order, Reverse: reverse, Limit: l.limit}), l.form,
			export.UserLine, userCells, "", "UID", "NAME", "SOURCE", "STATE", "CREATED", "TOKENS", "LAST USED")
	}))
	c.Long = "List users. Several filters mean and."
	l.flags(c, api.UserFilters, api.ByUID, api.ByLastUsed, api.ByCreated, api.ByTokens)
	return c
}

func userShow(env Env) *cobra.Command {
	var asJSON bool
	c := command("show UID", "Show a user, and the user's tokens", One("UID"), env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			u, err := c.User(ctx, args[0])
			if err != nil {
				return err
			}
			tokens := c.Tokens(ctx, api.TokenQuery{Filters: api.Where("user", args[0]), Revoked: true})
			if asJSON {
				return printNested(env.Out, userObject{export.UserLine(u.User), u.Identities, u.LoginDelay, u.Service, u.Rechecks}, "apiTokens", tokens, export.TokenLine) // tokens is how many work
			}
			if err := env.facts(u); err != nil {
				return err
			}
			return env.tokens(tokens, form{}, "\n")
		}))
	jsonFlag(c, &asJSON, "print one object: the user, with identities and tokens")
	return c
}

// userObject is what user show --json prints, with apiTokens as its last key.
type userObject struct {
	export.User
	Identities []api.Identity  `json:"identities"`
	LoginDelay *api.LoginDelay `json:"loginDelay,omitempty"`
	Service    *api.Answering  `json:"service,omitempty"`
	Rechecks   []api.Asked     `json:"rechecks,omitempty"`
}

func userSwitch(env Env, verb, short string, call func(*api.Client, context.Context, string) error) *cobra.Command {
	return command(verb+" UID", short, One("UID"), env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			if err := call(c, ctx, args[0]); err != nil {
				return err
			}
			env.say("%s is %sd.", text.Escape(args[0]), verb)
			return nil
		}))
}

func userUnlock(env Env) *cobra.Command {
	c := command("unlock UID", "Let a user log in again after too many bad passwords", One("UID"), env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			if err := c.UnlockUser(ctx, args[0]); err != nil {
				return err
			}
			env.say("%s may log in again.", text.Escape(args[0]))
			return nil
		}))
	c.Long = "Lift the delay of a user's logins after too many bad passwords. A disabled user stays\ndisabled: see enable."
	return c
}

func userRename(env Env) *cobra.Command {
	two := func(c *cobra.Command, args []string) error {
		if len(args) != 2 {
			return Usagef("%s takes a UID and a NEW uid", c.CommandPath())
		}
		return nil
	}
	return command("rename UID NEW", "Change a user's uid; identities, tokens and sessions stay", two, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			if err := c.RenameUser(ctx, args[0], args[1]); err != nil {
				return err
			}
			env.say("%s is now called %s.", text.Escape(args[0]), text.Escape(args[1]))
			return nil
		}))
}

func userRemove(env Env) *cobra.Command {
	agreed := consent{env: env}
	c := command("remove UID", "Remove a user and revoke the user's tokens for good", One("UID"), env.with(by(api.Admin, func(ctx context.Context, c *api.Client, args []string) error {
		u, err := c.User(ctx, args[0])
		if err != nil {
			return err
		}
		if err := env.sayServices(c.Services(ctx, u.UID)); err != nil {
			return err
		}
		if err := agreed.ask(ctx, fmt.Sprintf("Remove %s and revoke %s for good?", text.Escape(u.UID), Count(u.Tokens, "token"))); err != nil {
			return err
		}
		if err := c.RemoveUser(ctx, args[0]); err != nil {
			return err
		}
		env.say("Removed %s; %s revoked.", text.Escape(u.UID), Count(u.Tokens, "token"))
		return nil
	})))
	c.Long = "Remove a user and revoke the user's tokens for good. The command says what becomes of\nthe user's service accounts, and asks. Without a terminal it needs --yes."
	agreed.required(c)
	return c
}
