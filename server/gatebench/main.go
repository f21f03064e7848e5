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

// bench is one run of the command.
type bench struct {
	gatehouse   string // the program; empty: it is built
	data        string
	rounds      int
	duration    time.Duration // of one run of wrk
	pause       time.Duration // after it
	tokens      int
	connections int
	own         bool   // ask at the gate's own address
	behind      string // the proxy between wrk and the servers, or ""
	asked       []peer // on the command line
	peers       []contender
	server      int // the core of the servers
	client      int // the core of wrk
	nice        int
	steal       float64 // the share of the cores that their host may take in a round
	scratch     string
	out         io.Writer
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == emptyMode {
		if err := empty(os.Args[2], os.Stdin, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	b, err := parse(os.Args[1:])
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gatebench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*bench, error) {
	b := &bench{out: os.Stdout}
	flags := flag.NewFlagSet("gatebench", flag.ContinueOnError)
	flags.StringVar(&b.gatehouse, "gatehouse", "", "the program to measure; empty: it is built from the sources here")
	flags.StringVar(&b.data, "data", "", "a directory made by gatehouse demo")
	flags.IntVar(&b.rounds, "rounds", 5, "pairs of runs for each kind of token")
	flags.DurationVar(&b.duration, "duration", 5*time.Second, "of one run, in whole seconds")
	flags.DurationVar(&b.pause, "pause", 2*time.Second, "after each run")
	flags.IntVar(&b.tokens, "tokens", 200_000, "how many tokens to draw; all, if there are fewer")
	flags.IntVar(&b.connections, "connections", 32, "of wrk")
	flags.BoolVar(&b.own, "own", false, "ask at an address of the gate's own, not at the main port")
	flags.StringVar(&b.behind, "behind", "", "ask through nginx, haproxy or caddy, configured as the manual shows")
	flags.Func("peer", `"URL NAME: VALUE": ask there too, with this header; can be given again`, b.addPeer)
	flags.IntVar(&b.server, "server-core", 0, "the core that the servers run on")
	flags.IntVar(&b.client, "client-core", 1, "the core that wrk runs on")
	flags.IntVar(&b.nice, "nice", 0, "of all three; below 0, on a machine that others use, root alone may")
	flags.Float64Var(&b.steal, "steal", 0.02, "the share of the two cores that the host of a virtual machine may take in a round; of which it takes more, that is run again")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if b.data == "" || flags.NArg() > 0 || b.rounds < 1 || !(b.steal >= 0) || b.tokens < 1 || b.connections < 1 || b.duration < time.Second || b.duration%time.Second != 0 {
		flags.Usage()
		return nil, errors.New("usage")
	}
	return b, nil
}

// run measures, and prints as it goes.
func (b *bench) run(ctx context.Context) (err error) {
	if err := b.needs(); err != nil {
		return err
	}
	if b.scratch, err = os.MkdirTemp("", "gatebench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.scratch)) }()
	if b.gatehouse == "" {
		b.gatehouse = filepath.Join(b.scratch, "gatehouse")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.gatehouse, "gatehouse").CombinedOutput(); err != nil {
			return fmt.Errorf("build gatehouse: %w\n%s", err, out)
		}
	}
	if err := b.findPeers(ctx); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	drawn, err := b.draw(ctx)
	if err != nil {
		return fmt.Errorf("draw tokens: %w", err)
	}
	if err := b.acquaint(ctx, &drawn); err != nil {
		return fmt.Errorf("use each token once: %w", err)
	}
	fmt.Fprintf(b.out, "%d of %d tokens, %d connections, %v a run\n", len(drawn.secrets), drawn.of, b.connections, b.duration)
	return b.measure(ctx, drawn)
}

// measure starts the gate, lets it run against the empty handler for each kind of token,
// stops it, and checks that it counted right.
func (b *bench) measure(ctx context.Context, drawn sample) error {
	gate, err := b.startGate(ctx, drawn.secrets[0])
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "first right answer after %v, the whole table after %v, idle after %v\n",
		gate.answered.Round(time.Millisecond), gate.whole.Round(time.Millisecond), gate.idle.Round(time.Millisecond))
	all, err := b.contests(ctx, gate, drawn.secrets)
	if err != nil {
		return errors.Join(err, gate.stop())
	}
	answered, err := gate.figure(`gatehouse_requests_total{class="2xx",route="/api/verify"}`)
	if err := errors.Join(err, gate.stop()); err != nil {
		return err
	}
	b.summary(all)
	after, err := b.uses(ctx, drawn.ids)
	if err != nil {
		return fmt.Errorf("sum up the uses: %w", err)
	}
	return b.compare(after-drawn.uses, int64(answered), all)
}

func (b *bench) contests(ctx context.Context, g *gate, secrets []storage.Secret) (all []contest, err error) {
	for _, k := range kinds {
		c, err := b.contest(ctx, g, k, secrets)
		if err != nil {
			return nil, fmt.Errorf("%s tokens: %w", k.name, err)
		}
		all = append(all, c)
	}
	memory, err := g.memory()
	fmt.Fprintf(b.out, "RssAnon of the gate after the load: %d MiB\n", memory>>20)
	return all, err
}

// needs refuses a machine on which nothing can be measured.
func (b *bench) needs() error {
	if err := b.needsProxy(); err != nil {
		return err
	}
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
func (b *bench) pinned(ctx context.Context, core int, program string, args ...string) *exec.Cmd {
	prefix := []string{"-n", strconv.Itoa(b.nice), "taskset", "-c", strconv.Itoa(core), program}
	return exec.CommandContext(ctx, "nice", append(prefix, args...)...)
}
