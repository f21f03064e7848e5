package datadir

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

// reader is what reads a log: it may be stuck, or gone.
type reader struct {
	mu    sync.Mutex
	gone  bool
	got   strings.Builder
	stuck chan struct{} // closed: not any more; nil: never was
}

func (r *reader) Write(b []byte) (int, error) {
	if r.stuck != nil {
		<-r.stuck
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.got.Write(b)
}

func (r *reader) leave(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

// idle waits until nothing waits to be written.
func (l *Lines) idle(t *testing.T) {
	t.Helper()
	must.Happen(t, "all lines written", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.waiting)+len(l.wake) == 0
	})
}

func TestLinesInOrder(t *testing.T) {
	r := &reader{}
	l := NewLines(r)
	var want strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&want, "line %d\n", i)
		fmt.Fprintf(l, "line %d\n", i)
		if i%1000 == 0 {
			l.idle(t)
		}
	}
	l.Close()
	l.Close()
	if r.got.String() != want.String() {
		t.Error("the lines differ from what was written")
	}
	fmt.Fprintln(l, "too late") // no panic
}

// TestLinesStuck: a stuck reader holds nobody up, loses the lines that find no room, and
// is told how many.
func TestLinesStuck(t *testing.T) {
	r := &reader{stuck: make(chan struct{})}
	l := NewLines(r)
	log := slog.New(slog.NewTextHandler(l, nil))
	l.Lost = func(n int) { log.Warn("lost", "lines", n) }
	line := strings.Repeat("x", 1023) + "\n"
	fmt.Fprint(l, line)
	l.idle(t) // the reader has it
	for range mostWaiting/len(line) + 7 {
		fmt.Fprint(l, line)
	}
	close(r.stuck)
	l.idle(t)
	l.Close()
	if got := r.got.String(); strings.Count(got, line) != 1+mostWaiting/len(line) || !strings.HasSuffix(got, "level=WARN msg=lost lines=7\n") {
		t.Errorf("got %d lines, and at the end %q", strings.Count(got, line), got[max(0, len(got)-200):])
	}
}

// TestLinesGone: a reader who goes away and comes back loses only the lines in between.
func TestLinesGone(t *testing.T) {
	r := &reader{gone: true}
	l := NewLines(r)
	var lost []int
	l.Lost = func(n int) { lost = append(lost, n) }
	for range 3 {
		fmt.Fprintln(l, "lost")
		l.idle(t)
	}
	l.Close()
	if len(lost) != 0 {
		t.Errorf("told of %v while nobody reads", lost)
	}
	r = &reader{gone: true}
	l = NewLines(r)
	l.Lost = func(n int) { lost = append(lost, n) }
	fmt.Fprint(l, "one\ntwo\n")
	l.idle(t)
	l.mu.Lock() // when this lock is free and nothing waits, everything is written
	for l.lost == 0 {
		l.mu.Unlock()
		time.Sleep(time.Millisecond)
		l.mu.Lock()
	}
	l.mu.Unlock()
	r.leave(false)
	fmt.Fprintln(l, "back")
	l.Close()
	if len(lost) != 1 || lost[0] != 2 || r.got.String() != "back\n" {
		t.Errorf("got %v lost, and %q", lost, r.got.String())
	}
}

// TestLinesClose: a pipe that nobody reads does not keep a process from ending.
func TestLinesClose(t *testing.T) {
	r, w := must.Get2(os.Pipe())(t)
	defer r.Close()
	defer w.Close()
	l := NewLines(w)
	for range 100 {
		fmt.Fprintln(l, strings.Repeat("x", 4096))
	}
	l.Close() // returns
}
