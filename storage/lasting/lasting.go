// Package lasting logs states that last, such as a full disk or a directory that
// does not answer: when one begins, every minute while it lasts, and when it ends.
// It never logs each failed request or write in between: four clients on a bad disk
// once wrote 2,687 lines in a few seconds. It never decides what is a failure.
package lasting

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A State is logged while it lasts. Set its exported fields before its first use.
// Its methods may be called from many goroutines, and any number of times.
type State struct {
	Log    *slog.Logger
	Level  slog.Level // of the beginning and of the reminders; the end is logged at INFO
	Begins string     // the message of the beginning and of the reminders
	Ends   string     // the message of the end

	// Quiet, unless it is 0, ends the state when no error was reported for that time:
	// some states report only errors.
	Quiet time.Duration

	mu       sync.Mutex
	lasts    bool
	silent   bool // its beginning was not logged, because there were too many in that minute
	stopped  bool
	since    time.Time
	reports  int // reports since it began
	err      error
	args     []any
	reminder *time.Timer
	latest   time.Time // time of the latest error, if Quiet is set
	quiet    *time.Timer

	// A state that begins and ends over and over would fill the log as well.
	minute time.Time // the start of the minute in which begun counts
	begun  int
}

const (
	// Every is how often a state is logged while it lasts.
	Every = time.Minute
	// most is how many beginnings are logged in a minute. Later ones wait for the
	// reminder.
	most = 5
)

// Set reports the current condition: with an error the state lasts, with nil it does
// not. The arguments are attributes for the log, as in [slog.Logger.Log]. Reminders
// use those of the latest report.
func (s *State) Set(err error, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
	case err != nil:
		s.err, s.args = err, args
		if s.Quiet > 0 {
			s.latest = time.Now()
		}
		if s.reports++; !s.lasts {
			s.begin()
		}
	case s.lasts:
		s.end(args)
	}
}

func (s *State) begin() {
	now := time.Now()
	s.lasts, s.since, s.reports = true, now, 1
	if now.Sub(s.minute) >= Every {
		s.minute, s.begun = now, 0
	}
	s.begun++
	if s.silent = s.begun > most; !s.silent {
		s.log()
	}
	s.reminder = time.AfterFunc(Every, s.remind)
	if s.Quiet > 0 {
		s.quiet = time.AfterFunc(s.Quiet, s.silence)
	}
}

// silence ends the state, or waits longer if errors came later.
func (s *State) silence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lasts || s.stopped {
		return
	}
	if left := s.Quiet - time.Since(s.latest); left > 0 {
		s.quiet.Reset(left)
		return
	}
	s.end(nil)
}

// Drop ends the state without a word: what it is about is no longer there.
func (s *State) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lasts && !s.stopped {
		s.silent = true
		s.end(nil)
	}
}

func (s *State) end(args []any) {
	s.reminder.Stop()
	if s.quiet != nil {
		s.quiet.Stop()
	}
	s.lasts = false
	if !s.silent {
		s.Log.Info(s.Ends, append([]any{"lasted", time.Since(s.since).Round(time.Millisecond)}, args...)...)
	}
}

func (s *State) remind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lasts || s.stopped || time.Since(s.since) < Every {
		return // it has ended, and perhaps begun again, since the timer fired
	}
	s.silent = false
	s.log("for", time.Since(s.since).Round(time.Second), "reports", s.reports)
	s.reminder.Reset(Every)
}

func (s *State) log(more ...any) {
	args := append([]any{"error", s.err}, s.args...)
	s.Log.Log(context.Background(), s.Level, s.Begins, append(args, more...)...)
}

// Lasts reports whether the state lasts.
func (s *State) Lasts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lasts
}

// Stop ends the reminders. Later reports are ignored.
func (s *State) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, t := range []*time.Timer{s.reminder, s.quiet} {
		if t != nil {
			t.Stop()
		}
	}
}
