// Gatehouse gives every user of an organisation's own servers API access
// tokens. This file is the command line: it reads flags and configuration,
// opens what a command needs, and wires the packages together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/server/demo"
	"gatehouse/server/local"
	"gatehouse/storage"
	"gatehouse/tui"
	"gatehouse/tui/cli"
	"gatehouse/tui/text"
)

func main() {
	unix.Umask(0o077) // whatever is made here is its owner's alone
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(cli.Report(os.Stderr, a.run(ctx, os.Args[1:])))
}

// app is one run of the binary.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File

	data, listen, config string
	command              string // the one at hand, "gatehouse user add"
}

// run parses the arguments and runs the command that they name.
func (a *app) run(ctx context.Context, args []string) error {
	root := cli.Root(a.stdout, a.stderr, func(c *cobra.Command) error {
		a.command, a.data = c.CommandPath(), dataDir(a.data)
		return nil
	})
	root.PersistentFlags().StringVar(&a.data, "data", "", "the data directory (default "+dataDir("")+")")
	root.PersistentFlags().StringVar(&a.config, "config", "", "the configuration file (default config.toml in the data directory, if there is one)")
	root.AddCommand(a.serveCommand(), a.adminCommand(), a.demoCommand(),
		a.backupCommand(), a.restoreCommand(), a.configCommand(), a.versionCommand())
	root.AddCommand(cli.Commands(cli.Env{
		Open: a.client, In: a.stdin, Out: a.stdout, Err: a.stderr,
		Password: cli.Terminal(a.stdin, a.stderr), Now: time.Now,
	})...)
	return cli.Execute(ctx, root, args)
}

// dataDir is the data directory: the one that was named or, without a name,
// the state directory of the service or of the user.
func dataDir(name string) string {
	if name == "" {
		name, _, _ = strings.Cut(os.Getenv("STATE_DIRECTORY"), ":") // a list, systemd.exec(5)
	}
	if state := os.Getenv("XDG_STATE_HOME"); name == "" && filepath.IsAbs(state) {
		name = filepath.Join(state, "gatehouse")
	}
	if home, err := os.UserHomeDir(); name == "" && err == nil {
		name = filepath.Join(home, ".local", "state", "gatehouse")
	}
	if name == "" {
		name = "gatehouse-data"
	}
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// settings reads the configuration, from file unless that is empty: flag over
// environment (which is in the flag by now) over file over default.
func (a *app) settings() (cfg server.Config, file string, err error) {
	file = a.config
	if beside := filepath.Join(a.data, "config.toml"); file == "" && exists(beside) {
		file = beside
	}
	cfg = server.DefaultConfig()
	if file != "" {
		if cfg, err = server.LoadConfig(file); err != nil {
			return cfg, file, err
		}
	}
	if a.listen != "" {
		cfg.Listen = a.listen
	}
	if d := os.Getenv("CREDENTIALS_DIRECTORY"); d != "" {
		if key := filepath.Join(d, "gatehouse-key"); exists(key) {
			cfg.KeyFile = key
		}
	}
	return cfg, file, nil
}

// exists reports whether there is such a file, also one that can't be looked at:
// passing that over in silence would take another key or no configuration.
func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context()) },
	}
	c.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API (default 127.0.0.1:8080)")
	return c
}

// serve runs the server until the context ends.
func (a *app) serve(ctx context.Context) error {
	if err := storage.CheckOwner(a.data); err != nil {
		return err
	}
	cfg, _, err := a.settings()
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil { // before there is a store
		return err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	store, s, err := a.local().Open(cfg, log)
	if err != nil {
		return err
	}
	return errors.Join(a.listenAndServe(ctx, s, log), store.Close())
}

func (a *app) listenAndServe(ctx context.Context, s *server.Server, log *slog.Logger) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	file, password, made, err := s.FirstRun(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if made {
		a.welcome(l.URL(), file, password)
	}
	log.Info("listening", "url", l.URL(), "data", a.data, "version", version())
	daemon.SdNotify(false, daemon.SdNotifyReady)
	err = l.Serve(ctx)
	log.Info("stopped")
	return err
}

// welcome says how to get a first token. The password goes to a terminal
// alone: standard error is often a log.
func (a *app) welcome(url, file, password string) {
	fmt.Fprintf(a.stderr, "The account %s was made; its password is in %s until the first login.\n", server.FirstUser, file)
	if term.IsTerminal(int(a.stderr.Fd())) {
		fmt.Fprintf(a.stderr, "The password is: %s\n", password)
	}
	fmt.Fprintf(a.stderr, "Get a first token with\n\n  curl -d username=%s --data-urlencode password@%s %s/api/authenticate/userpass\n\n",
		server.FirstUser, quote(file), url)
}

// quote makes one word of s for a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (a *app) adminCommand() *cobra.Command {
	var readOnly bool
	c := &cobra.Command{
		Use: "admin", Short: "Open the terminal UI", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client(c.Context())
			if err != nil {
				return err
			}
			err = tui.Run(c.Context(), client, tui.Options{
				ReadOnly: readOnly, Offline: client.Offline(), Version: version(), In: a.stdin, Out: a.stdout,
			})
			return errors.Join(err, client.Close())
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "look, and change nothing")
	return c
}

func (a *app) demoCommand() *cobra.Command {
	var users, tokens int
	var sample string
	var noServe bool
	c := &cobra.Command{
		Use: "demo", Short: "Fill an empty store with made users and tokens, and serve it", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if users < 1 || tokens < 0 {
				return cli.Usagef("--users is 1 or more, --tokens 0 or more")
			}
			return a.demo(c.Context(), users, tokens, sample, noServe)
		},
	}
	c.Flags().IntVar(&users, "users", 50, "how many users")
	c.Flags().IntVar(&tokens, "tokens", 400, "how many tokens")
	c.Flags().StringVar(&sample, "sample", "", "write up to 10,000 usable tokens to this file, one a line")
	c.Flags().BoolVar(&noServe, "no-serve", false, "end when the store is full")
	c.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API (default 127.0.0.1:8080)")
	return c
}

func (a *app) demo(ctx context.Context, users, tokens int, sample string, noServe bool) error {
	if err := storage.BecomeOwner(a.data); err != nil {
		return err
	}
	cfg, _, err := a.settings()
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil { // before there is a store
		return err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	store, s, err := a.local().Open(cfg, log)
	if err != nil {
		return err
	}
	secrets, err := a.fill(ctx, store, users, tokens)
	if err == nil && sample != "" {
		err = demo.WriteSample(sample, secrets)
	}
	if err == nil && !noServe {
		err = a.serveDemo(ctx, s, log, secrets)
	}
	return errors.Join(err, store.Close())
}

func (a *app) fill(ctx context.Context, store *storage.Store, users, tokens int) ([]storage.Secret, error) {
	if n := store.UserCount(); n > 0 {
		return nil, fmt.Errorf("%s holds %d users already: name an empty directory with --data, or look at this one with `gatehouse serve`", a.data, n)
	}
	o := demo.Options{Users: users, Tokens: tokens, Samples: 10_000, Now: time.Now()}
	if term.IsTerminal(int(a.stderr.Fd())) {
		o.Progress = func(done int) { fmt.Fprintf(a.stderr, "\r%d of %d tokens", done, tokens) }
		defer fmt.Fprintln(a.stderr)
	}
	start := time.Now()
	secrets, err := demo.Fill(ctx, store, o)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, "Made %d users and %d tokens in %v.\n", users, tokens, time.Since(start).Round(time.Millisecond))
	return secrets, nil
}

func (a *app) serveDemo(ctx context.Context, s *server.Server, log *slog.Logger, secrets []storage.Secret) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	if len(secrets) > 0 {
		demo.Explain(a.stdout, l.URL(), secrets[0])
		fmt.Fprintf(a.stdout, "gatehouse admin --data %s\n", quote(a.data))
	}
	log.Info("listening", "url", l.URL(), "data", a.data, "version", version())
	return l.Serve(ctx)
}

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the store, while the server runs", Args: cli.One("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := a.local().Backup(c.Context(), args[0], a.terminal())
			if err != nil {
				return fmt.Errorf("%s is not written: %w", args[0], err)
			}
			fmt.Fprintf(a.stderr, "Backed up %d users and %d tokens, up to event %d. The key file is not in it: keep a copy elsewhere.\n",
				m.Users, m.Tokens, m.Sequence)
			return nil
		},
	}
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Restore a backup into an empty directory, or over an older store", Args: cli.One("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.local().Restore(c.Context(), args[0], a.terminal())
			if err != nil {
				return fmt.Errorf("%s is not restored: %w", args[0], err)
			}
			a.explainRestore(r)
			return nil
		},
	}
}

func (a *app) explainRestore(r storage.Restored) {
	fmt.Fprintf(a.stderr, "Restored %d users and %d tokens, as of %s.\n", r.Users, r.Tokens, time.UnixMilli(r.Created).Format(time.RFC3339))
	if r.Revoked > 0 {
		fmt.Fprintf(a.stderr, "Of them %d were revoked, disabled or removed after the backup, and stay so.\n", r.Revoked)
	}
	if r.Kept != "" {
		fmt.Fprintf(a.stderr, "The store as it was is in %s: delete it when you don't need it any more.\n", r.Kept)
	}
	if r.NoKey != "" {
		fmt.Fprintf(a.stderr, "Put the key file of that installation at %s before you start the server.\n", r.NoKey)
	}
}

// terminal is standard error where a person looks at it, and else nil.
func (a *app) terminal() io.Writer {
	if term.IsTerminal(int(a.stderr.Fd())) {
		return a.stderr
	}
	return nil
}

// local is the data directory.
func (a *app) local() local.Dir {
	return local.Dir{Path: a.data, Command: a.command, Version: version(), Messages: a.stderr, Settings: func() (server.Config, error) {
		cfg, _, err := a.settings()
		return cfg, err
	}}
}

// client is the administration of the data directory. One command may begin a
// store: elsewhere, a directory without one is a mistyped name.
func (a *app) client(ctx context.Context) (*api.Client, error) {
	return a.local().Client(ctx, a.command == "gatehouse user add")
}

func (a *app) configCommand() *cobra.Command {
	var ldapUser string
	check := &cobra.Command{
		Use: "check", Short: "Read the configuration as the server would, and say what is wrong", Args: cli.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkConfig(); err != nil || ldapUser == "" {
				return err
			}
			return a.checkLDAP(c.Context(), ldapUser)
		},
	}
	check.Flags().StringVar(&ldapUser, "ldap", "", "try all steps of a login of this user, short of the password, on each server")
	return cli.Group("config", "Look after the configuration", check)
}

// checkLDAP prints what each step of a login found.
func (a *app) checkLDAP(ctx context.Context, user string) error {
	cfg, _, err := a.settings()
	if err != nil {
		return err
	}
	steps, err := server.CheckLDAP(ctx, cfg, user)
	if err != nil {
		return err
	}
	t := text.NewTable(a.stdout, "SERVER", "STEP", "RESULT", "DETAIL")
	failed := 0
	for _, s := range steps {
		result := "ok"
		if !s.OK {
			result = "failed"
			failed++
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

func (a *app) checkConfig() error {
	cfg, file, err := a.settings()
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	if file == "" {
		fmt.Fprintln(a.stderr, "There is no configuration file: the defaults hold.")
		return nil
	}
	fmt.Fprintf(a.stderr, "%s is right.\n", file)
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cli.None,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.stdout, "gatehouse %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version is the module's, or the commit's that the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
