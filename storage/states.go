package storage

import (
	"log/slog"

	"gatehouse/storage/lasting"
)

// states are what may be wrong with the store for a while, beside what Writable says.
// Each is logged when it begins, every minute, and when it ends: not each time that it
// is met.
type states struct {
	refused  lasting.State // the system refuses appends to the journal
	uses     lasting.State
	slice    int // of the uses, that failed last
	sessions lasting.State
	events   lasting.State
}

func (s *states) init(log *slog.Logger) {
	s.refused = lasting.State{Log: log, Level: slog.LevelError, Begins: "the system refuses to write changes", Ends: "the system writes changes again"}
	s.uses = lasting.State{Log: log, Level: slog.LevelWarn, Begins: "uses are not yet saved; they are tried again", Ends: "uses are saved again"}
	s.sessions = lasting.State{Log: log, Level: slog.LevelWarn, Begins: "the last uses of sessions are not saved", Ends: "the last uses of sessions are saved again"}
	s.events = lasting.State{Log: log, Level: slog.LevelWarn, Begins: "events are lost", Ends: "events are kept again"}
}

func (s *states) stop() {
	for _, one := range []*lasting.State{&s.refused, &s.uses, &s.sessions, &s.events} {
		one.Stop()
	}
}

// unsaved takes what came of a slice of the uses. It is over when the slice that failed
// last is saved: others may have nothing to save.
func (s *states) unsaved(slice int, err error) {
	switch {
	case err != nil:
		s.slice = slice
		s.uses.Set(err)
	case slice == s.slice:
		s.uses.Set(nil)
	}
}
