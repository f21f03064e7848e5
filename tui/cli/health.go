package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
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
