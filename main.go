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
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/server/demo"
	"gatehouse/storage"
	"gatehouse/tui"
	"gatehouse/tui/cli"
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
	mayCreate            bool // the command at hand may make a store
}

// run parses the arguments and runs the command that they name.

func (a *app) run(ctx context.Context, args []string) error {
	started := false
	root := &cobra.Command{
		Use: "gatehouse", Short: "API access tokens for an organisation's own servers",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			started = true
			a.mayCreate = c.CommandPath() == "gatehouse user add"
			if err := environment(c); err != nil {
				return err
			}
			a.data = dataDir(a.data)
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(a.stderr)
			return errors.Join(c.Help(), usage("name a command"))
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(cli.FlagError)
	root.PersistentFlags().StringVar(&a.data, "data", "", "the data directory (default "+dataDir("")+")")
	root.PersistentFlags().StringVar(&a.config, "config", "", "the configuration file (default config.toml in the data directory, if there is one)")
	root.CompletionOptions.DisableDefaultCmd = true // ours knows what a wrong shell is
	root.SetHelpCommand(helpCommand())
	root.AddCommand(a.serveCommand(), a.adminCommand(), a.demoCommand(), a.configCommand(), a.versionCommand(), a.completionCommand())
	root.AddCommand(cli.Commands(cli.Env{
		Open: a.client, In: a.stdin, Out: a.stdout, Err: a.stderr,
		Password: cli.Terminal(a.stdin, a.stderr), Now: time.Now,
	})...)
	err := root.ExecuteContext(ctx)
	if err != nil && !started { // cobra found no command, or did not like the arguments
		return usage("%w", err)
	}
	return err
}

func usage(format string, args ...any) error { return cli.UsageError{Err: fmt.Errorf(format, args...)} }

// environment sets each flag that the command line does not from its twin
// GATEHOUSE_<FLAG>. That of a flag that may be repeated is split at spaces.
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
				err = usage("%s: %w", name, bad)
			}
		}
	})
	return err
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

// open opens the store and a server on it.
func (a *app) open(holder string, cfg server.Config, log *slog.Logger) (*storage.Store, *server.Server, error) {
	store, err := storage.Open(a.data, storage.Options{
		KeyFile: cfg.KeyFile, MaxPerUser: cfg.Tokens.MaxPerUser, Holder: holder, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	s, err := server.New(store, cfg, server.Options{Version: version(), Log: log})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, s, nil
}

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context()) },
	}
	c.Flags().StringVar(&a.listen, "listen", "", "the address of the HTTP API (default 127.0.0.1:8080)")
	return c
}

// serve runs the server until the context ends.
func (a *app) serve(ctx context.Context) error {
	if err := a.ownedByUs(); err != nil {
		return err
	}
	cfg, _, err := a.settings()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	store, s, err := a.open("gatehouse serve", cfg, log)
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
		Use: "admin", Short: "Open the terminal UI", Args: cobra.NoArgs,
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

// client returns the administration of the running server or, when none holds
// the store, one in this process.
func (a *app) client(ctx context.Context) (*api.Client, error) {
	c := api.Dial(server.SocketPath(a.data))
	_, err := c.Status(ctx)
	if err == nil {
		return c, nil
	}
	unreachable := (*api.UnreachableError)(nil)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("only root and the owner of %s may do this: %w", a.data, err)
	}
	if !errors.As(err, &unreachable) {
		return nil, err
	}
	actor := osUser()
	has, err := storage.HasData(a.data)
	if err != nil {
		return nil, err
	}
	if !has && !a.mayCreate {
		return nil, fmt.Errorf("there is no store in %s: start one with `gatehouse serve`, or name another directory with --data", a.data)
	}
	if err := a.becomeOwner(); err != nil {
		return nil, err
	}
	cfg, _, err := a.settings()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, s, err := a.open("a gatehouse command", cfg, log)
	if locked := (*storage.LockedError)(nil); errors.As(err, &locked) {
		return nil, &api.UnreachableError{Socket: unreachable.Socket, Err: err}
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, "No server is running: working on the store in %s itself.\n", a.data)
	return api.InProcess(s.AdminHandler(actor), store.Close), nil
}

func osUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// owner returns the owner of the data directory; ok is false when there is none.
func (a *app) owner() (uid, gid int, ok bool) {
	info, err := os.Stat(a.data)
	if err != nil {
		return 0, 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// ownedByUs keeps root from leaving files in a store that its owner's server
// could then not open.
func (a *app) ownedByUs() error {
	if uid, _, ok := a.owner(); ok && os.Geteuid() == 0 && uid != 0 {
		return fmt.Errorf("%s belongs to user %d: run the server as that user", a.data, uid)
	}
	return nil
}

// becomeOwner lets root work on a store as its owner, for good.
func (a *app) becomeOwner() error {
	uid, gid, ok := a.owner()
	if !ok || os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("work as the owner of %s: %w", a.data, err)
	}
	return nil
}

func (a *app) demoCommand() *cobra.Command {
	var users, tokens int
	var sample string
	var noServe bool
	c := &cobra.Command{
		Use: "demo", Short: "Fill an empty store with made users and tokens, and serve it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if users < 1 || tokens < 0 {
				return usage("--users is 1 or more, --tokens 0 or more")
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
	if err := a.becomeOwner(); err != nil {
		return err
	}
	cfg, _, err := a.settings()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	store, s, err := a.open("gatehouse demo", cfg, log)
	if err != nil {
		return err
	}
	secrets, err := a.fill(ctx, store, users, tokens)
	if err == nil && sample != "" {
		err = writeSample(sample, secrets)
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

func writeSample(file string, secrets []storage.Secret) error {
	var b strings.Builder
	for _, s := range secrets {
		b.WriteString(s.Reveal())
		b.WriteByte('\n')
	}
	if err := storage.WriteFile(file, []byte(b.String())); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	return nil
}

func (a *app) serveDemo(ctx context.Context, s *server.Server, log *slog.Logger, secrets []storage.Secret) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	if len(secrets) > 0 {
		printDemo(a.stdout, l.URL(), a.data, secrets[0])
	}
	log.Info("listening", "url", l.URL(), "data", a.data, "version", version())
	return l.Serve(ctx)
}

func printDemo(w io.Writer, url, dir string, token storage.Secret) {
	fmt.Fprintf(w, "TOKEN=%s\n", token.Reveal())
	for _, path := range []string{"getApiTokens", "token", "revokeApiToken"} {
		fmt.Fprintf(w, "curl -H \"X-Auth-Token: $TOKEN\" %s/api/%s\n", url, path)
	}
	fmt.Fprintf(w, "gatehouse admin --data %s\n", quote(dir))
}

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Look after the configuration", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return usage("%s needs a command; see %[1]s --help", c.CommandPath())
		},
	}
	c.AddCommand(&cobra.Command{
		Use: "check", Short: "Read the configuration as the server would, and say what is wrong", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.checkConfig() },
	})
	return c
}

func (a *app) checkConfig() error {
	cfg, file, err := a.settings()
	if err != nil {
		return err
	}
	if cfg.TLS.Cert != "" {
		if err := server.CheckCertificate(cfg.TLS); err != nil {
			return err
		}
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
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.stdout, "gatehouse %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print what makes bash, fish, powershell or zsh complete the commands",
		Args: cobra.ArbitraryArgs, ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); strings.Join(args, " ") {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			}
			return usage("%s takes one SHELL: %s", c.CommandPath(), strings.Join(c.ValidArgs, ", "))
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
				return usage("there is no command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag()
			return about.Help()
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
