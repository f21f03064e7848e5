package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Root returns the command that the others are added to. Before any of them
// runs, its flags are set from the environment, and then before is called.
func Root(out, messages io.Writer, before func(*cobra.Command) error) *cobra.Command {
	root := &cobra.Command{
		Use: "gatehouse", Short: "API access tokens for the services that you run yourself",
		Long:         intro,
		Args:         noCommand,
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(noEmpty(c), environment(c)); err != nil {
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

// StopWithin runs a command. After the context ends it waits at most within, because a
// file system that is gone may block a call forever.
func StopWithin(ctx context.Context, within time.Duration, run func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(within):
		return fmt.Errorf("still not stopped %v after the signal: exiting without finishing, as if killed", within)
	}
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
	if err := helpForNone(root, args); err != nil {
		return err
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		return Usagef("%w", err)
	}
	return err
}

// helpForNone rejects --help after a word that is not a command. Cobra would show the help of
// the group and succeed.
func helpForNone(root *cobra.Command, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "__") { // completion asks about any line
		return nil
	}
	root.InitDefaultHelpCmd()
	c, rest, err := root.Find(args)
	if err != nil || !c.HasSubCommands() {
		return nil
	}
	c.InitDefaultHelpFlag()
	if c.ParseFlags(rest) != nil {
		return nil // as the command itself finds
	}
	if help, _ := c.Flags().GetBool("help"); !help {
		return nil
	}
	return noCommand(c, c.Flags().Args())
}

// twin is the annotation of the flags that the environment can set.
const twin = "environment"

// Twins lets the environment set these flags of the command: --read-only, for
// example, by GATEHOUSE_READ_ONLY. It is for flags that say where and how. Flags
// that say which rows a command acts on, or that the user agrees, are not among them: a
// variable left over from another task would change what a command does without notice.
func Twins(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		f := c.Flags().Lookup(name)
		if f == nil {
			f = c.PersistentFlags().Lookup(name)
		}
		f.Annotations = map[string][]string{twin: nil}
	}
}

// environment sets each flag that has a twin from the environment, unless it is on the
// command line. An empty variable counts as not set.
func environment(c *cobra.Command) (err error) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := "GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v := os.Getenv(name)
		if _, ok := f.Annotations[twin]; !ok || v == "" || f.Changed || err != nil {
			return
		}
		if bad := c.Flags().Set(f.Name, v); bad != nil {
			err = Usagef("%w", badValue(name, v, bad))
		}
		f.Annotations[twin] = []string{name}
	})
	return err
}

// Origin says where the value of a flag comes from: the command line or a variable of
// the environment. It is empty for a flag that was not given.
func Origin(c *cobra.Command, flag string) string {
	f := c.Flags().Lookup(flag)
	switch {
	case f == nil || !f.Changed:
		return ""
	case len(f.Annotations[twin]) > 0:
		return "environment " + f.Annotations[twin][0]
	default:
		return "flag --" + flag
	}
}

// onLine reports whether a flag is on the command line.
func onLine(c *cobra.Command, flag string) bool { return Origin(c, flag) == "flag --"+flag }

// noEmpty rejects a flag with an empty value. It comes from a shell variable that is not
// set. If it counted as "no such flag", `token revoke --user "$USER_ID" --idle 90d` would
// revoke the tokens of everybody.
func noEmpty(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.String() == ""
		if many, ok := f.Value.(pflag.SliceValue); ok {
			empty = slices.Contains(many.GetSlice(), "")
		}
		if empty && err == nil {
			err = Usagef("--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// jsonFlag adds --json to a command.
func jsonFlag(c *cobra.Command, asJSON *bool, usage string) {
	c.Flags().BoolVar(asJSON, "json", false, usage)
	Twins(c, "json")
}

func completionCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print a completion script for bash, fish, powershell or zsh",
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

// helpCommand is cobra's, except that an unknown command is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command",
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
