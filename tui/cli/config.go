package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gatehouse/tui/text"
)

// Configuration is what the commands about the configuration file ask.
type Configuration struct {
	Check    func() (file string, err error) // reads the file, and those that it names; no file: the defaults apply
	LDAP     func(ctx context.Context, user string) ([]Step, error)
	Provider func(ctx context.Context, name string) ([]Step, error)
	Settings func() ([]Setting, error)
}

// Step is one of the steps of a login by a directory, or of what a provider is asked.
type Step struct {
	Server  string
	Name    string
	OK      bool
	Warning bool
	Detail  string
}

// Setting is a setting in force.
type Setting struct{ Name, Value, From string }

// ConfigCommand checks and shows the configuration. The address that --listen names goes
// to listen.
func ConfigCommand(out *Output, messages io.Writer, of Configuration, listen *string) *cobra.Command {
	var ldapUser, provider string
	check := &cobra.Command{
		Use: "check", Short: "Read the configuration as the server does, and report every error", Args: None,
		RunE: func(c *cobra.Command, _ []string) error {
			file, err := of.Check()
			switch {
			case err != nil:
				return err
			case file == "":
				fmt.Fprintln(messages, "There is no configuration file: the defaults apply.")
			default:
				fmt.Fprintf(messages, "%s is correct.\n", file)
			}
			if ldapUser != "" {
				err = checkSteps(c.Context(), out, of.LDAP, ldapUser)
			}
			if provider != "" {
				err = errors.Join(err, checkSteps(c.Context(), out, of.Provider, provider))
			}
			return err
		},
	}
	check.Flags().StringVar(&ldapUser, "ldap", "", "also try what a login of this user needs on each directory server, except the password")
	check.Flags().StringVar(&provider, "provider", "", "also try what logins and rechecks need at this OAuth provider, except a person")
	show := &cobra.Command{
		Use: "show", Short: "Print every setting in force, and where it comes from", Args: None,
		RunE: func(*cobra.Command, []string) error {
			list, err := of.Settings()
			if err != nil {
				return err
			}
			t := text.NewTable(out, "SETTING", "VALUE", "FROM")
			for _, s := range list {
				if err := t.Row(s.Name, s.Value, s.From); err != nil {
					return err
				}
			}
			return t.Flush()
		},
	}
	show.Flags().StringVar(listen, "listen", "", "the address of the HTTP API, as for serve")
	Twins(show, "listen")
	return Group("config", "Check and show the configuration", check, show)
}

// checkSteps prints what each step found, on each server.
func checkSteps(ctx context.Context, out *Output, try func(context.Context, string) ([]Step, error), name string) error {
	steps, err := try(ctx, name)
	if err != nil {
		return err
	}
	t := text.NewTable(out, "SERVER", "STEP", "RESULT", "DETAIL")
	failed := 0
	for _, s := range steps {
		result := "ok"
		switch {
		case !s.OK:
			result = "failed"
			failed++
		case s.Warning:
			result = "warning"
		}
		if err := t.Row(s.Server, s.Name, result, s.Detail); err != nil {
			return err
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps failed", failed, len(steps))
	}
	return nil
}
