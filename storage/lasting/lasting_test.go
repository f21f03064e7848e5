package lasting_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/storage/lasting"
	"gatehouse/storage/storagetest"
)

// lines logs without times, so that whole lines can be compared.
func lines() (*slog.Logger, func() []string) {
	b := new(storagetest.Log)
	h := slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h), func() []string {
		synctest.Wait()
		return b.Take()
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var errFull = errors.New("full")

func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := lines()
		s := &lasting.State{Log: log, Level: slog.LevelError, Begins: "no room", Ends: "room again"}
		defer s.Stop()
		s.Set(nil)
		want(t, logged())

		var reporting sync.WaitGroup
		for range 4 { // like clients on a bad disk
			reporting.Go(func() {
				for range 1000 {
					s.Set(errFull, "dir", "d")
				}
			})
		}
		reporting.Wait()
		want(t, logged(), `level=ERROR msg="no room" error=full dir=d`)
		time.Sleep(59 * time.Second)
		want(t, logged())
		time.Sleep(2 * time.Second)
		want(t, logged(), `level=ERROR msg="no room" error=full dir=d for=1m0s reports=4000`)
		s.Set(errors.New("fuller"))
		time.Sleep(time.Minute)
		want(t, logged(), `level=ERROR msg="no room" error=fuller for=2m0s reports=4001`)
		if !s.Lasts() {
			t.Error("it does not last")
		}
		s.Set(nil, "dir", "d")
		s.Set(nil)
		want(t, logged(), `level=INFO msg="room again" lasted=2m1s dir=d`)
		time.Sleep(time.Hour)
		want(t, logged())
	})
}

// TestFlapping has a state that comes and goes a hundred times a second.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := lines()
		s := &lasting.State{Log: log, Level: slog.LevelWarn, Begins: "down", Ends: "up"}
		defer s.Stop()
		for range 100 {
			s.Set(errFull)
			s.Set(nil)
			time.Sleep(10 * time.Millisecond)
		}
		if got := logged(); len(got) != 10 {
			t.Errorf("got %d lines, want 5 beginnings and 5 ends:\n%s", len(got), strings.Join(got, "\n"))
		}
		s.Set(errFull) // a state that lasts is logged within a minute
		want(t, logged())
		time.Sleep(61 * time.Second)
		want(t, logged(), `level=WARN msg=down error=full for=1m0s reports=1`)
		s.Set(nil)
		want(t, logged(), `level=INFO msg=up lasted=1m1s`)
		s.Set(errFull) // a minute later
		want(t, logged(), `level=WARN msg=down error=full`)
	})
}

// TestDrop: what is no longer there neither lasts nor ends.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := lines()
		s := &lasting.State{Log: log, Level: slog.LevelWarn, Begins: "down", Ends: "up"}
		defer s.Stop()
		s.Drop()
		s.Set(errFull)
		s.Drop()
		s.Set(nil)
		time.Sleep(time.Hour)
		want(t, logged(), `level=WARN msg=down error=full`)
		s.Set(errFull)
		want(t, logged(), `level=WARN msg=down error=full`)
	})
}

// TestQuiet has a state that reports only errors.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := lines()
		s := &lasting.State{Log: log, Level: slog.LevelWarn, Begins: "down", Ends: "up", Quiet: 10 * time.Second}
		defer s.Stop()
		for range 20 {
			s.Set(errFull)
			time.Sleep(2 * time.Second)
		}
		want(t, logged(), `level=WARN msg=down error=full`)
		time.Sleep(7 * time.Second)
		want(t, logged())
		time.Sleep(2 * time.Second)
		want(t, logged(), `level=INFO msg=up lasted=48s`)
		s.Set(errFull)
		s.Set(nil)
		want(t, logged(), `level=WARN msg=down error=full`, `level=INFO msg=up lasted=0s`)
		time.Sleep(time.Hour)
		want(t, logged())
	})
}

func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logged := lines()
		s := &lasting.State{Log: log, Begins: "down", Ends: "up"}
		s.Set(errFull)
		want(t, logged(), `level=INFO msg=down error=full`)
		s.Stop()
		time.Sleep(time.Hour)
		s.Set(nil)
		s.Set(errFull)
		want(t, logged())
		new(lasting.State).Stop() // before any use
	})
}
