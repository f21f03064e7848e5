// Package cli has the commands that administer users and tokens, the twins of
// what the terminal UI does: for scripts, pipes and screen readers.
//
// It turns arguments into calls of server/api's client and replies into lines:
// data on standard output, everything else on standard error. It never decides
// anything about users or tokens, never opens a store, and never ends the
// process: main opens the client and exits with what Report returns.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
)

// Env is what the commands see of the world.
type Env struct {
	// Open returns the client of the running server, or one that works on
	// the store when no server holds it. The command closes it.
	Open func(context.Context) (*api.Client, error)

	In       io.Reader
	Out, Err io.Writer

	// Password reads a line from the terminal without showing it. Nil means
	// that In is not a terminal: then nothing is asked.
	Password func(ctx context.Context, prompt string) (string, error)

	Now func() time.Time

	// Person means that Err is a terminal. A person whose role does not allow everything
	// is told so before each command.
	Person bool
}

// Commands returns `user`, `token`, `service`, `events`, `scan`, `key`, `notify` and
// `whoami`, for main to add to its root.
func Commands(env Env) []*cobra.Command {
	return []*cobra.Command{userCommand(env), tokenCommand(env), serviceCommand(env), eventsCommand(env), scanCommand(env), keyCommand(env), notifyCommand(env), whoCommand(env)}
}

// Group returns a command that only holds others.
func Group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: noCommand,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			return Usagef("%s needs a command; see %[1]s --help", c.CommandPath())
		},
	}
	c.SetFlagErrorFunc(flagError)
	c.AddCommand(children...)
	return c
}

// noCommand rejects an unknown command of a group in one line. Cobra's own message has
// several.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2 // the same as cobra's
	meant := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		meant = " (did you mean " + strings.Join(near, " or ") + "?)"
	}
	return Usagef("%s has no command %q%s; see %[1]s --help", c.CommandPath(), args[0], meant)
}

// action is the work of a command once its client is open.
type action func(ctx context.Context, c *api.Client, args []string) error

// with returns a RunE that opens the client for do.
func (env Env) with(do action) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := env.Open(ctx)
		if err != nil {
			return err
		}
		if env.Person {
			env.sayRole(ctx, c)
		}
		err = flagged(do(ctx, c, args))
		return errors.Join(err, c.Close()) // closing a store may be what fails
	}
}

// command returns a command of a group.
func command(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: run, SilenceUsage: true, SilenceErrors: true}
}

// One takes exactly one argument, called name in the message.
func One(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 || strings.TrimSpace(args[0]) == "" {
			return Usagef("%s takes one %s", c.CommandPath(), name)
		}
		return nil
	}
}

// AtMostOne takes one argument, which may be left out.
func AtMostOne(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 1 {
			return Usagef("%s takes one %s, but also got %q", c.CommandPath(), name, args[1])
		}
		return nil
	}
}

// None takes no argument.
func None(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usagef("%s takes no argument, but got %q", c.CommandPath(), args[0])
	}
	return nil
}

// needs rejects a command without the flag that names a user.
func needs(c *cobra.Command, flag, uid string) error {
	if uid == "" {
		return Usagef("%s needs --%s UID", c.CommandPath(), flag)
	}
	return nil
}

// say writes a message for people, to standard error.
func (env Env) say(format string, args ...any) { fmt.Fprintf(env.Err, format+"\n", args...) }
