package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// errNoServer is the error without a running server: only its memory has the sweep
// that is held.
var errNoServer = &api.UnreachableError{Socket: "its socket", Err: errors.New("a sweep is held by a running server alone")}

func userOffboard(env Env) *cobra.Command {
	var confirm bool
	c := command("offboard", "Show an off-boarding sweep that was held, or confirm it", None, env.with(
		func(ctx context.Context, c *api.Client, _ []string) error {
			if c.Offline() {
				return errNoServer
			}
			held, err := c.Offboard(ctx)
			if err != nil {
				return err
			}
			if len(held.Changes) == 0 {
				if confirm {
					return errors.New("no sweep is held: there is nothing to confirm")
				}
				env.say("No sweep is held.")
				return nil
			}
			if confirm {
				if err := c.ConfirmOffboard(ctx); err != nil {
					return err
				}
				env.say("The directory was asked again, and what of the %d changes it still says was done; `gatehouse events` tells more.", len(held.Changes))
				return nil
			}
			env.say("The directory says this of %d of the %d users asked about, which is too much to be believed unseen.", len(held.Changes), held.Asked)
			t := text.NewTable(env.Out, "USER", "WOULD", "WHY")
			for _, h := range held.Changes {
				if err := t.Row(h.UID, h.Action, dash(h.Why)); err != nil {
					return err
				}
			}
			if err := t.Flush(); err != nil {
				return err
			}
			env.say("`gatehouse user offboard --confirm` does it.")
			return nil
		}))
	c.Flags().BoolVar(&confirm, "confirm", false, "it is right: do it")
	return c
}
