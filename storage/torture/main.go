package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// torture is one run of the command.
type torture struct {
	rounds int
	dir    string // for temporary files; removed at the end

	checkpoints time.Duration // how often a child makes a checkpoint; 0: once a day

	rand  *rand.Rand
	log   func(format string, args ...any)
	table []row
}

// row is a line of the final table.
type row struct {
	what   string
	rounds int
	acked  int
	wrong  int
	note   string
	took   time.Duration
}

func main() {
	if len(os.Args) > 1 {
		if child := children[os.Args[1]]; child != nil {
			if err := child(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	err := run(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

// children are the functions that the command runs in child processes.
var children = map[string]func(args []string) error{
	"work": work, "check": checkChild, "endure": endure,
}

var errUsage = errors.New("usage: torture kill|power|abort|rot|clock [--rounds N] [--dir D] [--seed S] [--checkpoints D]")

func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	rounds := flags.Int("rounds", 0, "how many rounds; 0: 200 kills, 100 power failures, 50 disks gone, 500 flips, 100 clocks")
	checkpoints := flags.Duration("checkpoints", 0, "how often a store that is to be killed makes a checkpoint; 0: once a day")
	dir := flags.String("dir", os.TempDir(), "where the stores are made")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of the random moments and places")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(*dir, "torture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	fmt.Printf("torture %s --seed %d\n", args[0], *seed)
	t := newTorture(*rounds, scratch, *seed, func(f string, a ...any) { fmt.Printf(f+"\n", a...) })
	t.checkpoints = *checkpoints
	switch args[0] {
	case "kill":
		err = t.kill()
	case "power":
		err = t.power()
	case "abort":
		err = t.abort()
	case "rot":
		err = t.rot()
	case "clock":
		err = t.clock()
	default:
		return errUsage
	}
	return errors.Join(err, t.print())
}

func newTorture(rounds int, dir string, seed uint64, log func(string, ...any)) *torture {
	return &torture{rounds: rounds, dir: dir, rand: rand.New(rand.NewPCG(seed, 1)), log: log}
}

// print shows the table, and returns an error if anything was wrong.
func (t *torture) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\trounds\tacknowledged\twrong\ttook\tnote")
	wrong := 0
	for _, r := range t.table {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", r.what, r.rounds, r.acked, r.wrong, r.took.Round(time.Second), r.note)
		wrong += r.wrong
	}
	w.Flush()
	if wrong > 0 {
		return fmt.Errorf("%d violations", wrong)
	}
	fmt.Println("all held")
	return nil
}

// within returns a random duration between two others.
func (t *torture) within(from, to time.Duration) time.Duration {
	return from + time.Duration(t.rand.Int64N(int64(to-from)))
}

func (t *torture) path(elem ...string) string {
	return filepath.Join(append([]string{t.dir}, elem...)...)
}

// some shortens a list of violations for the log.
func some(list []string) string {
	if len(list) > 5 {
		list = append(list[:5:5], fmt.Sprintf("and %d more", len(list)-5))
	}
	return strings.Join(list, "; ")
}
