package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"gatehouse/storage"
)

// versus is one run of the command.
type versus struct {
	gatehouse   string // the program; empty: it is built
	data        string
	rounds      int
	duration    time.Duration // of one run of wrk
	pause       time.Duration // after it
	tokens      int
	connections int
	server      int // the core of the servers
	client      int // the core of wrk
	nice        int
	steal       float64 // the share of the cores that their host may take in a round
	scratch     string
	out         io.Writer
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == emptyMode {
		if err := empty(os.Stdin, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	v, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := v.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "versus:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*versus, error) {
	v := &versus{out: os.Stdout}
	flags := flag.NewFlagSet("versus", flag.ContinueOnError)
	flags.StringVar(&v.gatehouse, "gatehouse", "", "the program to measure; empty: it is built from the sources here")
	flags.StringVar(&v.data, "data", "", "a directory made by gatehouse demo")
	flags.IntVar(&v.rounds, "rounds", 5, "pairs of runs for each kind of token")
	flags.DurationVar(&v.duration, "duration", 5*time.Second, "of one run, in whole seconds")
	flags.DurationVar(&v.pause, "pause", 2*time.Second, "after each run")
	flags.IntVar(&v.tokens, "tokens", 200_000, "how many tokens to draw; all, if there are fewer")
	flags.IntVar(&v.connections, "connections", 32, "of wrk")
	flags.IntVar(&v.server, "server-core", 0, "the core that the servers run on")
	flags.IntVar(&v.client, "client-core", 1, "the core that wrk runs on")
	flags.IntVar(&v.nice, "nice", 0, "of all three; below 0, on a machine that others use, root alone may")
	flags.Float64Var(&v.steal, "steal", 0.02, "the share of the two cores that the host of a virtual machine may take in a round; of which it takes more, that is run again")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if v.data == "" || flags.NArg() > 0 || v.rounds < 1 || !(v.steal >= 0) || v.tokens < 1 || v.connections < 1 || v.duration < time.Second || v.duration%time.Second != 0 {
		flags.Usage()
		return nil, errors.New("usage")
	}
	return v, nil
}

// run measures, and prints as it goes.
func (v *versus) run(ctx context.Context) (err error) {
	if err := v.needs(); err != nil {
		return err
	}
	if v.scratch, err = os.MkdirTemp("", "versus-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(v.scratch)) }()
	if v.gatehouse == "" {
		v.gatehouse = filepath.Join(v.scratch, "gatehouse")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", v.gatehouse, "gatehouse").CombinedOutput(); err != nil {
			return fmt.Errorf("build gatehouse: %w\n%s", err, out)
		}
	}
	drawn, err := v.draw(ctx)
	if err != nil {
		return fmt.Errorf("draw tokens: %w", err)
	}
	fmt.Fprintf(v.out, "%d of %d tokens, %d connections, %v a run\n", len(drawn.secrets), drawn.of, v.connections, v.duration)
	return v.measure(ctx, drawn)
}

// measure starts the gate, lets it run against the empty handler for each kind
// of token, stops it, and looks whether it counted right.
func (v *versus) measure(ctx context.Context, drawn sample) error {
	gate, err := v.startGate(ctx, drawn.secrets[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(v.out, "first right answer after %v, the whole table after %v\n", gate.answered.Round(time.Millisecond), gate.whole.Round(time.Millisecond))
	all, err := v.contests(ctx, gate, drawn.secrets)
	if err != nil {
		return errors.Join(err, gate.stop())
	}
	answered, err := gate.figure(`gatehouse_requests_total{class="2xx",route="/api/verify"}`)
	if err := errors.Join(err, gate.stop()); err != nil {
		return err
	}
	v.summary(all)
	after, err := v.uses(ctx, drawn.ids)
	if err != nil {
		return fmt.Errorf("sum up the uses: %w", err)
	}
	return v.compare(after-drawn.uses, int64(answered), all)
}

func (v *versus) contests(ctx context.Context, g *gate, secrets []storage.Secret) (all []contest, err error) {
	for _, k := range kinds {
		c, err := v.contest(ctx, g, k, secrets)
		if err != nil {
			return nil, fmt.Errorf("%s tokens: %w", k.name, err)
		}
		all = append(all, c)
	}
	memory, err := g.memory()
	fmt.Fprintf(v.out, "RssAnon of the gate after the load: %d MiB\n", memory>>20)
	return all, err
}

// needs refuses a machine on which nothing can be measured.
func (v *versus) needs() error {
	for _, p := range [...]struct{ program, debian string }{{"wrk", "wrk"}, {"taskset", "util-linux"}, {"nice", "coreutils"}} {
		if _, err := exec.LookPath(p.program); err != nil {
			return fmt.Errorf("%s is missing: install Debian's package %s", p.program, p.debian)
		}
	}
	if n := runtime.NumCPU(); n < 2 {
		return fmt.Errorf("servers and client need a core each, and this process may use %d", n)
	}
	return nil
}

// pinned is a command that runs on one core.
func (v *versus) pinned(ctx context.Context, core int, program string, args ...string) *exec.Cmd {
	prefix := []string{"-n", strconv.Itoa(v.nice), "taskset", "-c", strconv.Itoa(core), program}
	return exec.CommandContext(ctx, "nice", append(prefix, args...)...)
}
