package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// HealthCommand asks the running server whether it is ready, for monitoring. Its exit
// status is 0 or 1: why there is no answer makes no difference.
func HealthCommand(running func(context.Context) (*api.Client, error), out *Output) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Ask the running server whether it is ready: exit status 0 or 1", Args: None,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := running(c.Context())
			if err == nil {
				err = errors.Join(client.Ready(c.Context()), client.Close())
			}
			if err != nil {
				return fmt.Errorf("not ready: %s", err) // without what the exit status would be told from
			}
			_, err = fmt.Fprintln(out, "ready")
			return err
		},
	}
}

func notifyCommand(env Env) *cobra.Command {
	var in api.NoticeTest
	test := command("test", "Send a notice to each target, and print what it answered", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		done, err := c.TestNotices(ctx, in)
		if err != nil {
			return err
		}
		failed := 0
		for _, one := range done.Answers {
			line := text.Escape(one.Target) + ": " + text.Escape(one.Answer)
			if one.Error != "" {
				failed++
				line = text.Escape(one.Target) + ": failed: " + text.Escape(one.Error)
			}
			if _, err := fmt.Fprintln(env.Out, line); err != nil {
				return err
			}
		}
		switch {
		case len(done.Answers) == 0:
			return errors.New("there is no target: set command, webhook or smtp in the section [notify] of the configuration")
		case failed > 0:
			return fmt.Errorf("%d of %d targets did not take the notice", failed, len(done.Answers))
		}
		return nil
	}))
	test.Flags().StringVar(&in.To, "to", "", "the `ADDRESS` for mail (default: the sender's)")
	return Group("notify", "Try the notices", test)
}
