package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// errNoServer is the error without a running server: only its memory has the sweep
// that is held.
var errNoServer = &api.UnreachableError{Socket: "its socket", Err: errors.New("a sweep is held by a running server alone")}

func userOffboard(env Env) *cobra.Command {
	var confirm bool
	var agreed *consent
	open := env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		if c.Offline() {
			return errNoServer
		}
		held, err := c.Offboard(ctx)
		switch {
		case err != nil:
			return err
		case confirm:
			return env.confirmOffboard(ctx, c, held, agreed)
		case len(held.Changes) == 0:
			env.say("No sweep is held.")
			return nil
		}
		if err := env.heldSweep(env.Out, held); err != nil {
			return err
		}
		env.say("`gatehouse user offboard --confirm` does it.")
		return nil
	})
	c := command("offboard", "Show an off-boarding sweep that was held, or confirm it", None, func(cmd *cobra.Command, args []string) error {
		if confirm {
			if err := agreed.check(cmd.CommandPath() + " --confirm"); err != nil {
				return err
			}
		}
		return open(cmd, args)
	})
	c.Flags().BoolVar(&confirm, "confirm", false, "it is right: do it")
	agreed = env.consents(c)
	return c
}

// heldSweep shows what a sweep would do.
func (env Env) heldSweep(w io.Writer, held api.HeldSweep) error {
	env.say("The directory says this of %d of the %d users asked about, which is too much to be believed unseen.", len(held.Changes), held.Asked)
	t := text.NewTable(w, "USER", "WOULD", "WHY")
	for _, h := range held.Changes {
		if err := t.Row(h.UID, h.Action, dash(h.Why)); err != nil {
			return err
		}
	}
	return t.Flush()
}

// confirmOffboard lets a held sweep go on, once the user has seen it and agrees.
func (env Env) confirmOffboard(ctx context.Context, c *api.Client, held api.HeldSweep, agreed *consent) error {
	if len(held.Changes) == 0 {
		return errors.New("no sweep is held: there is nothing to confirm")
	}
	if !agreed.yes {
		if err := env.heldSweep(env.Err, held); err != nil {
			return err
		}
	}
	if err := agreed.ask(ctx, fmt.Sprintf("Do this to %s?", count(len(held.Changes), "user"))); err != nil {
		return err
	}
	if err := c.ConfirmOffboard(ctx); err != nil {
		return err
	}
	env.say("The directory was asked again, and what of the %d changes it still says was done; `gatehouse events` tells more.", len(held.Changes))
	return nil
}
