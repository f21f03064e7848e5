package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// victim is a child at work.
type victim struct {
	cmd    *exec.Cmd
	ledger *ledger
	began  chan struct{} // closed when a change is acknowledged, or the child has ended
	heard  chan error    // the result of reading the child's output
	stderr *tail
}

// start runs this command as a child, and enters its output into the ledger.
func start(l *ledger, args ...string) (*victim, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v := &victim{cmd: exec.Command(self, args...), ledger: l, began: make(chan struct{}), heard: make(chan error, 1), stderr: &tail{}}
	v.cmd.Stderr = v.stderr
	v.cmd.Env = append(os.Environ(), asChild+"=1")
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	began := sync.OnceFunc(func() { close(v.began) })
	go func() {
		err := l.read(out, began)
		began()
		v.heard <- err
	}()
	return v, nil
}

// asChild is the variable that tells the test binary to act as a child: a test
// runs its own binary.
const asChild = "GATEHOUSE_TORTURE_CHILD"

// kill kills the child. It returns an error if the child had ended by itself:
// writers never fail without an accident.
func (v *victim) kill() error {
	if v.ledger.Killed == 0 { // of several kills before a comparison, the first one lost the uses
		v.ledger.Killed = time.Now().UnixMilli()
	}
	early := v.cmd.Process.Kill()
	err := <-v.heard
	v.cmd.Wait()
	if v.cmd.ProcessState.Exited() || early != nil {
		return fmt.Errorf("%w: %s, %s", errEnded, v.cmd.ProcessState, v.stderr)
	}
	return err
}

var errEnded = errors.New("the child ended before it was killed")

// wait waits for the child to end.
func (v *victim) wait() error {
	err := <-v.heard
	if e := v.cmd.Wait(); e != nil {
		err = errors.Join(err, fmt.Errorf("%w: %s", e, v.stderr))
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, b...); len(t.b) > 64<<10 {
		t.b = t.b[len(t.b)-64<<10:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

const aheadEach = 10 * 24 * time.Hour // the clock advances by this much each round

// kill kills a child N times on one store, and a quarter as often a child that
// is creating a store.
func (t *torture) kill() error {
	if t.rounds == 0 {
		t.rounds = 200
	}
	l, began := newLedger(), time.Now()
	r := row{what: "kill -9", note: "of a store at work"}
	var opening time.Duration
	for n := range t.rounds {
		ahead := time.Duration(n) * aheadEach
		if err := t.killOnce(l, t.path("store"), ahead); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		took, wrong, err := inspect(l, t.path("store"), ahead, t.whole(n))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		opening = max(opening, took)
		t.enter(&r, n, l.Acked, wrong, began)
		if (n+1)%20 == 0 {
			t.log("%d rounds, %d changes and uses acknowledged, %d tokens, slowest opening %s, oldest use lost %d ms, %s", n+1, l.Acked, len(l.Tokens),
				opening.Round(time.Millisecond), l.Lost, time.Since(began).Round(time.Second))
		}
	}
	r.note += fmt.Sprintf("; slowest opening after it %s, the oldest use lost %d ms old, %d times the index was built again",
		opening.Round(time.Millisecond), l.Lost, l.Rebuilt)
	t.table = append(t.table, r)
	return t.births((t.rounds + 3) / 4)
}

// enter enters into its row what was found wrong after a round.
func (t *torture) enter(r *row, round, acked int, wrong []string, began time.Time) {
	r.rounds, r.acked, r.wrong, r.took = round+1, acked, r.wrong+len(wrong), time.Since(began)
	if len(wrong) > 0 {
		t.log("round %d: %s", round, some(wrong))
	}
}

// killOnce lets a child work for a random time and kills it. Now and then it
// kills another child while that opens the store.
func (t *torture) killOnce(l *ledger, dir string, ahead time.Duration) error {
	v, err := start(l, "work", dir, ahead.String(), strconv.FormatUint(t.rand.Uint64(), 10), t.checkpoints.String(), "1000000000")
	if err != nil {
		return err
	}
	switch k := t.rand.IntN(4); k {
	case 0:
		time.Sleep(t.within(0, 100*time.Millisecond))
	case 1:
		<-v.began
		time.Sleep(t.within(time.Second, 2*time.Second)) // long enough for a checkpoint
	default:
		<-v.began
		time.Sleep(t.within(0, time.Second))
	}
	if err := v.kill(); err != nil {
		return err
	}
	for t.rand.IntN(4) == 0 {
		v, err := start(l, "work", dir, ahead.String(), "0", t.checkpoints.String(), "-1")
		if err != nil {
			return err
		}
		time.Sleep(t.within(0, 150*time.Millisecond))
		if err := v.kill(); err != nil {
			return err
		}
	}
	return nil
}

// births kills children that are creating a store, at the very beginning.
func (t *torture) births(rounds int) error {
	began := time.Now()
	r := row{what: "kill -9", note: "of a store in the making"}
	for n := range rounds {
		l, dir := newLedger(), t.path("birth")
		for range 1 + t.rand.IntN(3) {
			v, err := start(l, "work", dir, "0s", "0", "0s", "-1")
			if err != nil {
				return err
			}
			time.Sleep(t.within(0, 60*time.Millisecond))
			if err := v.kill(); err != nil {
				return fmt.Errorf("birth %d: %w", n, err)
			}
		}
		v, err := start(l, "work", dir, "0s", "0", "0s", "5")
		if err == nil {
			err = v.wait()
		}
		if err != nil {
			return fmt.Errorf("birth %d: %w", n, err)
		}
		_, wrong, err := inspect(l, dir, 0, true)
		if err != nil {
			return fmt.Errorf("birth %d: %w", n, err)
		}
		if len(wrong) > 0 {
			t.log("birth %d: %s", n, some(wrong))
		}
		r.rounds, r.acked, r.wrong = n+1, r.acked+l.Acked, r.wrong+len(wrong)
		os.RemoveAll(dir)
	}
	r.took = time.Since(began)
	t.table = append(t.table, r)
	return nil
}

// whole reports whether to compare the listings of all tokens that ever existed
// after this round. It does so every fifth round: otherwise the time would grow
// with the square of the rounds.
func (t *torture) whole(round int) bool { return round%5 == 4 || round == t.rounds-1 }

// inspect opens the store, compares it with the ledger and closes it. It
// returns how long the opening took, and the violations.
func inspect(l *ledger, dir string, ahead time.Duration, whole bool) (opening time.Duration, wrong []string, err error) {
	alarm := time.AfterFunc(5*time.Minute, func() { panic("the store hangs") }) // with all the stacks
	defer alarm.Stop()
	began := time.Now()
	log := new(tail)
	s, err := open(dir, ahead, 0, log)
	if err != nil {
		return 0, nil, err
	}
	opening = time.Since(began)
	l.Rebuilt += strings.Count(log.String(), "is built again")
	c := &checker{ledger: l, s: s, whole: whole}
	c.all()
	if err := s.Close(); err != nil {
		c.badf("close: %v", err)
	}
	return opening, c.wrong, nil
}
