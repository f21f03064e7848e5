package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage"
)

// stopMost is how long a process may take to end, even if its disk fails.
const stopMost = 30 * time.Second

// abort takes the disk away from a child N times. It either remounts the file system as
// the kernel does when its device is gone, after which writes fail, or shuts it down,
// after which every call fails.
func (t *torture) abort() error {
	if t.rounds == 0 {
		t.rounds = 50
	}
	m, err := t.newMachine()
	if err != nil {
		return err
	}
	defer m.off()
	l, began := newLedger(), time.Now()
	r := row{what: "disk gone", note: "of a store at work"}
	var slowest time.Duration
	for n := range t.rounds {
		v, err := start(l, "endure", m.path("store"), strconv.FormatUint(t.rand.Uint64(), 10))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		took, wrong, err := m.abort(t, v, n)
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		slowest = max(slowest, took)
		l.Uses = map[string][]use{} // they may have been lost: the child has reported that
		_, more, err := inspect(l, m.path("store"), 0, t.whole(n))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		wrong = append(wrong, more...)
		t.enter(&r, n, l.Acked, wrong, began)
		if (n+1)%10 == 0 {
			t.log("%d rounds, %d changes acknowledged, %d tokens, slowest stop %s, %s", n+1, l.Acked, len(l.Tokens),
				slowest.Round(time.Millisecond), time.Since(began).Round(time.Second))
		}
	}
	r.note += fmt.Sprintf("; slowest stop %s, %d times the index was built again", slowest.Round(time.Millisecond), l.Rebuilt)
	t.table = append(t.table, r)
	return nil
}

// abort lets the child work, takes its disk away, stops the child after a while, and
// returns the disk. It returns how long the child took to stop, and any violations.
func (m *machine) abort(t *torture, v *victim, round int) (took time.Duration, wrong []string, err error) {
	<-v.began
	time.Sleep(t.within(50*time.Millisecond, 1500*time.Millisecond))
	if round%2 == 0 {
		err = command("mount", "-o", "remount,abort", m.mount)
	} else {
		err = m.cut()
	}
	if err != nil {
		return 0, nil, errors.Join(err, v.kill())
	}
	time.Sleep(t.within(0, 3*time.Second))
	early := v.cmd.Process.Signal(unix.SIGTERM)
	began := time.Now()
	late := time.AfterFunc(stopMost, func() { v.cmd.Process.Signal(unix.SIGQUIT) }) // dumps all stacks
	<-v.heard
	v.cmd.Wait()
	took = time.Since(began)
	if !late.Stop() {
		wrong = append(wrong, fmt.Sprintf("not stopped after %s: %s", stopMost, v.stderr))
	}
	said := v.stderr.String()
	switch state := v.cmd.ProcessState; {
	case early != nil || state.ExitCode() != 1:
		wrong = append(wrong, fmt.Sprintf("it ended with %s: %s", state, said))
	case !strings.Contains(said, "read-only file system") && !strings.Contains(said, "input/output error"):
		wrong = append(wrong, fmt.Sprintf("it does not say why: %s", said))
	}
	return took, wrong, errors.Join(m.off(), m.on())
}

// endure is a child that goes on when its disk is gone, as a server does. Its writers end
// with their first error, or before. Visitors go on with failed logins and recent files,
// which only the index records. At SIGTERM it closes the store. Its arguments are the
// directory and a seed.
func endure(args []string) error {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	s, err := storage.Open(args[0], storage.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), MaxPerUser: holdMost})
	if err != nil {
		return err
	}
	for n := range writers {
		w := &writer{n: n, store: s, rand: rand.New(rand.NewPCG(seed, uint64(n)))}
		most := 1 << 30
		if seed%3 == 0 { // soon only the visitors notice that the disk is gone
			most = 20
		}
		go w.run(most)
		go visit(s, n)
	}
	<-term
	return s.Close()
}

// visit does things that are not in the journal, as long as the process lives.
func visit(s *storage.Store, n int) {
	text := strings.Repeat("x", 4<<10)
	for i := 0; ; i++ {
		u, err := s.User(uid(n, i%usersEach))
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.Expiring().SetAttempts(strconv.Itoa(i), storage.Attempts{Failures: 1})
		s.Files().Opened(u.ID, storage.File{ID: []byte(strconv.Itoa(i)), Revision: []byte("1"), Name: text, Path: "/" + strconv.Itoa(i)})
		time.Sleep(time.Millisecond)
	}
}
