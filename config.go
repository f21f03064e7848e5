package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gatehouse/server/datadir"
	"gatehouse/server/directory"
	"gatehouse/server/recheck"
	"gatehouse/tui/cli"
	"gatehouse/tui/text"
)

// configCommand checks and shows the configuration.
func (a *app) configCommand() *cobra.Command {
	var ldapUser, provider string
	check := &cobra.Command{
		Use: "check", Short: "Read the configuration as the server does, and report every error", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			switch file, err := d.CheckSettings(); {
			case err != nil:
				return err
			case file == "":
				fmt.Fprintln(a.stderr, "There is no configuration file: the defaults apply.")
			default:
				fmt.Fprintf(a.stderr, "%s is correct.\n", file)
			}
			return a.tryLogins(c.Context(), d, ldapUser, provider)
		},
	}
	check.Flags().StringVar(&ldapUser, "ldap", "", "also try what a login of this user needs on each directory server, except the password")
	check.Flags().StringVar(&provider, "provider", "", "also try what logins and rechecks need at this OAuth provider, except a person")
	show := &cobra.Command{
		Use: "show", Short: "Print every setting in force, and where it comes from", Args: cli.None,
		RunE: func(*cobra.Command, []string) error {
			if err := a.checkListen(); err != nil {
				return err
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			list, err := d.AllSettings()
			if err != nil {
				return err
			}
			t := text.NewTable(a.out, "SETTING", "VALUE", "FROM")
			for _, s := range list {
				t.Row(s.Name, s.Value, s.From)
			}
			return t.Flush()
		},
	}
	show.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API, as for serve")
	cli.Twins(show, "listen")
	return cli.Group("config", "Check and show the configuration", check, show)
}

// tryLogins tries what logins by the directory and by a provider need, if they are named.
func (a *app) tryLogins(ctx context.Context, d datadir.Dir, ldapUser, provider string) (err error) {
	cfg, _, err := d.Settings()
	if err != nil {
		return err
	}
	if ldapUser != "" {
		steps, failed := directory.Check(ctx, cfg, ldapUser)
		err = cmp.Or(failed, a.printSteps(steps))
	}
	if provider != "" {
		steps, failed := recheck.Check(ctx, cfg, provider)
		err = errors.Join(err, cmp.Or(failed, a.printSteps(steps)))
	}
	return err
}

// printSteps prints what each step found, on each server.
func (a *app) printSteps(steps []directory.Step) error {
	if len(steps) == 0 {
		return nil
	}
	t := text.NewTable(a.out, "SERVER", "STEP", "RESULT", "DETAIL")
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
		t.Row(s.Server, s.Name, result, s.Detail)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps failed", failed, len(steps))
	}
	return nil
}
