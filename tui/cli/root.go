package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Root returns the command that the others are added to. Before any of them
// runs, its flags are set from the environment, and then before is called.
func Root(out, messages io.Writer, before func(*cobra.Command) error) *cobra.Command {
	root := &cobra.Command{
		Use: "gatehouse", Short: "API access tokens for an organisation's own servers",
		Long: `API access tokens for an organisation's own servers.

Every flag can stand in the environment instead: --never-used, for example, as
GATEHOUSE_NEVER_USED=true. The exit status is 0 for done, 1 for failed, 2 for a
wrong command line, 3 for no such user or token, 4 for not allowed, and 5 for a
server that can't be reached.`,
		Args:         noCommand,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := environment(c); err != nil {
				return err
			}
			return before(c)
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(messages)
			return errors.Join(c.Help(), Usagef("name a command"))
		},
	}
	root.SetOut(out)
	root.SetErr(messages)
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true // ours knows what a wrong shell is
	root.SetHelpCommand(helpCommand())
	root.AddCommand(completionCommand(out))
	return root
}

// Execute runs the command that the arguments name. An error of cobra's before
// the command has started is a UsageError.
func Execute(ctx context.Context, root *cobra.Command, args []string) error {
	started := false
	prepare := root.PersistentPreRunE
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		started = true
		return prepare(c, args)
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		return Usagef("%w", err)
	}
	return err
}

// environment sets each flag that is not on the command line from the variable
// GATEHOUSE_<FLAG>, if there is one. For a flag that may be repeated, the value is
// split at spaces.
func environment(c *cobra.Command) (err error) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v, ok := os.LookupEnv(name)
		if !ok || v == "" || f.Changed || f.Name == "help" || err != nil {
			return
		}
		values := []string{v}
		if _, many := f.Value.(pflag.SliceValue); many {
			values = strings.Fields(v)
		}
		for _, v := range values {
			if bad := c.Flags().Set(f.Name, v); bad != nil {
				err = Usagef("%s: %w", name, bad)
			}
		}
	})
	return err
}

func completionCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print what makes bash, fish, powershell or zsh complete the commands",
		Args: cobra.ArbitraryArgs, ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); strings.Join(args, " ") {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			case "zsh":
				return root.GenZshCompletion(out)
			}
			return Usagef("%s takes one SHELL: %s", c.CommandPath(), strings.Join(c.ValidArgs, ", "))
		},
	}
}

// helpCommand is cobra's, but that an unknown command is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Say what a command does",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return Usagef("there is no command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
