// Gatehouse issues API access tokens to the users of an organisation's servers, and
// verifies them. This file is the command line: which commands there are, and what each
// of them wires together. What they do with a data directory is in package
// server/datadir; the commands that ask a server or a store, such as user and token, are
// in tui/cli.
//
// Four package comments say where everything else is:
//
//	server    HTTP: where X-Auth-Token becomes a user, when a directory user is suspended
//	storage   the truth: what happens after kill -9, where a revocation and a last use become durable
//	tui       the terminal UI: from a key press to a revocation
//	ldap      the questions to an LDAP directory
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/datadir"
	"gatehouse/storage/backup"
	"gatehouse/tui"
	"gatehouse/tui/cli"
	"gatehouse/tui/text"
)

func main() {
	unix.Umask(0o077) // only the owner may read what this process makes
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, out: cli.NewOutput(os.Stdout)}
	err := cli.StopWithin(ctx, stopWithin, func() error { return a.run(ctx, os.Args[1:]) })
	last := datadir.NewLines(os.Stderr) // a standard error that nobody reads must not keep the process from ending
	status := cli.Report(last, err)
	last.Close()
	os.Exit(status)
}

// stopWithin is how long a command may take to end after a signal: with the last lines
// of the log, the process ends within 30 seconds.
const stopWithin = 27 * time.Second

// app is one run of the binary.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File
	out            *cli.Output // what writes to stdout

	data, listen, config string
	command              string // the one that runs, such as "gatehouse user add"
	origin               func(flag string) string
}

// run parses the arguments and runs the command that they name.
func (a *app) run(ctx context.Context, args []string) error {
	err := cli.Execute(ctx, a.root(), args)
	lost := a.out.Close()
	usage := errors.As(err, new(cli.UsageError)) && errors.Is(err, lost) // the command line was right: the output of cobra's help or version was lost
	if lost != nil && (err == nil || usage) {
		return fmt.Errorf("not everything could be printed: %w", lost)
	}
	return err
}

// root is all commands.
func (a *app) root() *cobra.Command {
	root := cli.Root(a.out, a.stderr, func(c *cobra.Command) error {
		a.command = c.CommandPath()
		a.origin = func(flag string) string { return cli.Origin(c, flag) }
		return nil
	})
	root.Version = cli.VersionLine()
	root.SetVersionTemplate("{{.Version}}\n")
	usual, err := datadir.Locate("")
	if err != nil {
		usual = "none, because the environment names none"
	}
	root.PersistentFlags().StringVar(&a.data, "data", "", "the data directory (default "+usual+")")
	root.PersistentFlags().StringVar(&a.config, "config", "", "the configuration file (default config.toml in the data directory, if there is one)")
	cli.Twins(root, "data", "config")
	root.AddCommand(a.serveCommand(), a.adminCommand(), a.demoCommand(),
		a.backupCommand(), a.restoreCommand(), a.configCommand(), cli.VersionCommand(a.out),
		cli.HealthCommand(a.running, a.out), cli.ManualCommand(a.out))
	root.AddCommand(cli.Commands(cli.Env{
		Open: a.client, In: a.stdin, Out: a.out, Err: a.stderr,
		Password: cli.Terminal(a.stdin, a.stderr), Now: time.Now, Person: term.IsTerminal(int(a.stderr.Fd())),
	})...)
	cli.Describe(root)
	cli.Complete(root, a.running)
	return root
}

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkListen(); err != nil {
				return err
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			return d.Serve(c.Context())
		},
	}
	c.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API (default 127.0.0.1:8080)")
	cli.Twins(c, "listen")
	return c
}

// checkListen rejects an invalid address before a store is made.
func (a *app) checkListen() error {
	if a.listen == "" {
		return nil
	}
	if err := config.CheckListen(a.listen); err != nil {
		return cli.Usagef("--listen: %w", err)
	}
	return nil
}

func (a *app) adminCommand() *cobra.Command {
	var readOnly, plain bool
	c := &cobra.Command{
		Use: "admin", Short: "Open the terminal UI", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client(c.Context())
			if err != nil {
				return err
			}
			err = tui.Run(c.Context(), client, tui.Options{
				ReadOnly: readOnly, Offline: client.Offline(), Version: cli.Version(), In: a.stdin, Out: a.stdout,
				ASCII: !text.UTF8(os.Getenv), Plain: plain || os.Getenv("TERM") == "dumb",
			})
			return errors.Join(err, client.Close())
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "look only: no key changes anything")
	c.Flags().BoolVar(&plain, "plain", false, "lines instead of a screen, for screen readers; the default if TERM is dumb")
	cli.Twins(c, "read-only", "plain")
	return c
}

func (a *app) demoCommand() *cobra.Command {
	o := datadir.Demo{Out: a.out}
	c := &cobra.Command{
		Use: "demo", Short: "Fill an empty store with made-up users and tokens, and serve it", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Users < 1 || o.Tokens < 0 {
				return cli.Usagef("--users must be at least 1, and --tokens at least 0")
			}
			if err := a.checkListen(); err != nil {
				return err
			}
			d, err := a.dir()
			if err != nil {
				return err
			}
			return d.Demo(c.Context(), o)
		},
	}
	c.Flags().IntVar(&o.Users, "users", 50, "how many users")
	c.Flags().IntVar(&o.Tokens, "tokens", 400, "how many tokens")
	c.Flags().StringVar(&o.Sample, "sample", "", "write up to 10,000 usable tokens to this file, one a line")
	c.Flags().BoolVar(&o.NoServe, "no-serve", false, "stop once the store is filled")
	c.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API (default 127.0.0.1:8080)")
	cli.Twins(c, "users", "tokens", "sample", "no-serve", "listen")
	return c
}

func (a *app) backupCommand() *cobra.Command {
	var force bool
	var keep int
	c := &cobra.Command{
		Use: "backup FILE|DIR/|-", Short: "Write a backup, also while the server runs", Args: cli.One("FILE"),
		Long:    "Write a backup of the store, also while the server runs: to FILE, to standard output\n(-), or into a directory as DIR/gatehouse-TIME.",
		Example: "  gatehouse backup /srv/backup/ --keep 14\n  gatehouse backup - | ssh backup 'cat >gatehouse'",
		RunE: func(c *cobra.Command, args []string) error {
			to := args[0]
			info, err := os.Stat(to)
			into := strings.HasSuffix(to, "/") || err == nil && info.IsDir()
			switch {
			case c.Flags().Changed("keep") && keep < 1:
				return cli.Usagef("--keep must be at least 1")
			case keep > 0 && !into:
				return cli.Usagef("--keep only works with a directory, such as %s/", to)
			}
			file, m, err := a.backup(c.Context(), to, into, force)
			if err != nil {
				if c.Context().Err() != nil {
					return fmt.Errorf("%s was not written: interrupted", file)
				}
				return fmt.Errorf("%s was not written: %w", file, err)
			}
			fmt.Fprintf(a.stderr, "Backed up %s and %s, up to event %d. The key file is not in it: keep a copy elsewhere.\n",
				cli.Count(int(m.Users), "user"), cli.Count(int(m.Tokens), "token"), m.Last())
			if keep == 0 {
				return nil
			}
			if err := datadir.KeepNewest(to, keep, file); err != nil {
				return fmt.Errorf("%s was written, but not all older backups were deleted: %w", file, err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	c.Flags().IntVar(&keep, "keep", 0, "then delete all but the newest N backups in DIR")
	return c
}

// backup writes a backup to a file, into a directory or, for "-", to standard output. It
// returns the file's name.
func (a *app) backup(ctx context.Context, to string, into, force bool) (file string, m backup.Manifest, err error) {
	d, err := a.dir()
	switch {
	case err != nil:
		return to, m, err
	case into:
		return d.BackupInto(ctx, to, time.Now())
	case to != "-":
		m, err = d.Backup(ctx, to, force)
	case term.IsTerminal(int(a.stdout.Fd())):
		err = errors.New("standard output is a terminal: redirect it to a file or a pipe")
	default:
		m, err = d.BackupTo(ctx, a.out)
	}
	return to, m, err
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE|-", Short: "Restore a backup into an empty directory, or over an older store", Args: cli.One("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := a.dir()
			if err != nil {
				return err
			}
			err = a.restore(c.Context(), d, args[0])
			if errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s was not restored: interrupted; the directory is unchanged", args[0])
			}
			if err != nil {
				return fmt.Errorf("%s was not restored: %w", args[0], err)
			}
			return nil
		},
	}
}

// restore reads a backup from a file or, for "-", from standard input.
func (a *app) restore(ctx context.Context, d datadir.Dir, file string) error {
	if file == "-" {
		if term.IsTerminal(int(a.stdin.Fd())) {
			return errors.New("standard input is a terminal: redirect a file or a pipe to it")
		}
		return d.Restore(ctx, a.stdin)
	}
	f, err := d.OpenBackup(ctx, file)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.Restore(ctx, f)
}

// dir is the data directory that the flags name.
func (a *app) dir() (datadir.Dir, error) {
	path, err := datadir.Locate(a.data)
	if err != nil {
		return datadir.Dir{}, cli.Usagef("%w", err)
	}
	d := datadir.Dir{Path: path, Command: a.command, Config: a.config, Listen: a.listen, Origin: a.origin, Version: cli.Version(), Messages: a.stderr}
	if term.IsTerminal(int(a.stderr.Fd())) {
		d.Terminal = a.stderr
	}
	return d, nil
}

// client returns the client that administers the data directory. Only `user add`
// makes a store if there is none: with other commands, the directory's name is more
// likely mistyped.
func (a *app) client(ctx context.Context) (*api.Client, error) {
	d, err := a.dir()
	if err != nil {
		return nil, err
	}
	d.Create = a.command == "gatehouse user add"
	return d.Client(ctx)
}

// running returns a client of the server that runs on the data directory.
func (a *app) running(ctx context.Context) (*api.Client, error) {
	d, err := a.dir()
	if err != nil {
		return nil, err
	}
	return d.Running(ctx)
}

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
			steps, err := d.TryLogins(c.Context(), ldapUser, provider)
			return errors.Join(err, a.printSteps(steps))
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

// printSteps prints what each step found, on each server.
func (a *app) printSteps(steps []datadir.Step) error {
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
