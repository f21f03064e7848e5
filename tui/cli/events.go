package cli

import (
	"context"
	"errors"
	"iter"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// recent is how many records `events --follow` goes back to begin with.
const recent = 10

func eventsCommand(env Env) *cobra.Command {
	var q api.EventQuery
	var asJSON, verify bool
	c := command("events", "Show the audit log", None, env.with(
		func(ctx context.Context, c *api.Client, _ []string) error {
			switch {
			case verify && (q.Follow || asJSON):
				return usagef("--verify goes with no other flag")
			case verify:
				return env.verify(ctx, c)
			case q.Follow:
				q.Last = recent
			}
			err := env.events(c.Events(ctx, q), asJSON, q.Follow)
			switch {
			case q.Follow && ctx.Err() != nil:
				return nil // it was stopped, as it must be
			case q.Follow && err == nil:
				return errors.New("the server has stopped: nothing more will come")
			}
			return err
		}))
	c.Flags().BoolVar(&q.Follow, "follow", false, "go on as things happen, from the last few events")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object a line")
	c.Flags().BoolVar(&verify, "verify", false, "read the whole log, and check that nothing in it was changed")
	return c
}

func (env Env) verify(ctx context.Context, c *api.Client) error {
	v, err := c.Verify(ctx)
	if err != nil {
		return err
	}
	if v.Problem != "" {
		return errors.New(v.Problem)
	}
	env.say("The audit log is whole, up to record %d.", v.Last)
	return nil
}

func (env Env) events(rows iter.Seq2[api.Event, error], asJSON, follow bool) error {
	if follow {
		return env.follow(rows, asJSON)
	}
	if asJSON {
		return printLines(env.Out, rows, func(e api.Event) api.Event { return e })
	}
	return env.table(rowsOf(rows, eventCells), "", "TIME", "ACTOR", "ACTION", "USER", "TOKEN", "ADDRESS", "DETAIL")
}

// follow prints each event as it comes. A table that has no end has no widths
// either: each line is one of its own.
func (env Env) follow(rows iter.Seq2[api.Event, error], asJSON bool) error {
	for e, err := range rows {
		if err == nil && asJSON {
			err = printJSON(env.Out, e)
		} else if err == nil {
			err = text.NewTable(env.Out, eventCells(e)...).Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eventCells(e api.Event) []string {
	return []string{moment(e.Time), dash(e.Actor), e.Action, dash(e.UID), dash(e.Token), dash(e.Address), dash(e.Remark())}
}
