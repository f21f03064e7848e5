package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// errNoServer is the error if no server runs: what is held is only in a server's memory.
var errNoServer = &api.UnreachableError{Socket: "its socket", Err: errors.New("only a running server can say what is held")}

func userOffboard(env Env) *cobra.Command {
	var confirm bool
	agreed := &consent{env: env}
	c := command("offboard", "Show what is held for you to confirm, or confirm it", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		if c.Offline() {
			return errNoServer
		}
		held, err := c.Offboard(ctx)
		switch {
		case err != nil:
			return err
		case confirm:
			return by(api.Operator, func(ctx context.Context, c *api.Client, _ []string) error {
				return env.confirmOffboard(ctx, c, held, agreed)
			})(ctx, c, nil)
		case held.Nothing():
			env.say("Nothing is held.")
			return nil
		}
		if err := env.heldSweep(env.Out, held); err != nil {
			return err
		}
		env.say("If this is right, run `gatehouse user offboard --confirm`.")
		return nil
	}))
	c.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if !confirm {
			return nil
		}
		return agreed.check(cmd.CommandPath() + " --confirm")
	}
	c.Flags().BoolVar(&confirm, "confirm", false, "confirm what is held")
	agreed.flag(c)
	return c
}

// heldSweep shows what would be done.
func (env Env) heldSweep(w io.Writer, held api.HeldSweep) error {
	if held.Clock != "" {
		env.say("The clock is in doubt: %s. Look at `date` before you confirm anything.", held.Clock)
	}
	if err := heldActs(w, held.Acts); err != nil || len(held.Changes) == 0 {
		return err
	}
	env.say("The directory or a provider says this about %d of the %d users. It is held because %s.", len(held.Changes), held.Asked, cmp.Or(held.Why, "that is too many to act on")) // an older server sends no reason
	t := text.NewTable(w, "USER", "WOULD", "WHY")
	for _, h := range held.Changes {
		t.Row(h.UID, h.Action, dash(h.Why))
	}
	return t.Flush()
}

func heldActs(w io.Writer, acts []api.HeldAct) error {
	if len(acts) == 0 {
		return nil
	}
	t := text.NewTable(w, "WOULD", "HOW MANY", "OF", "WHY IT IS HELD", "SHOWN BY")
	for _, a := range acts {
		t.Row(a.Action, strconv.Itoa(a.Count), strconv.Itoa(a.Of), a.Why, dash(a.Shown))
	}
	return t.Flush()
}

// confirmOffboard lets what is held go on, once the user has seen it and agrees.
func (env Env) confirmOffboard(ctx context.Context, c *api.Client, held api.HeldSweep, agreed *consent) error {
	if held.Nothing() {
		return errors.New("nothing is held, so there is nothing to confirm")
	}
	if !agreed.yes {
		if err := env.heldSweep(env.Err, held); err != nil {
			return err
		}
	}
	if err := agreed.ask(ctx, confirmQuestion(held)); err != nil {
		return err
	}
	if err := c.ConfirmOffboard(ctx); err != nil {
		return err
	}
	if held.Clock != "" {
		env.say("The clock is trusted again.")
	}
	for _, a := range held.Acts {
		env.say("Done: %s, except for what is in use again. `gatehouse events` shows the details.", a.Action)
	}
	if len(held.Changes) > 0 {
		env.say("Of the %d changes, those that still apply were made. `gatehouse events` shows them.", len(held.Changes))
	}
	return nil
}

func confirmQuestion(held api.HeldSweep) string {
	var parts []string
	if held.Clock != "" {
		parts = append(parts, "trust the clock")
	}
	for _, a := range held.Acts {
		parts = append(parts, fmt.Sprintf("%s (%d)", a.Action, a.Count))
	}
	if len(held.Changes) > 0 {
		parts = append(parts, "do this to "+Count(len(held.Changes), "user"))
	}
	q := strings.Join(parts, ", ")
	return strings.ToUpper(q[:1]) + q[1:] + "?"
}
