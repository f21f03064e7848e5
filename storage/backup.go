package storage

import (
	"os"
	"strconv"
	"strings"

	"gatehouse/storage/disk"
	"gatehouse/storage/wallclock"
)

// NoteBackup remembers that a backup was made, in the audit log and for
// LastBackup.
func (s *Store) NoteBackup(by Actor) error {
	now := s.clock.now()
	if err := disk.WriteFile(s.path("backed-up"), strconv.AppendInt(nil, now, 10)); err != nil {
		return err
	}
	return s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionBackup})
		return nil
	})
}

// LastBackup is when the last backup was made, in ms; 0: never, as far as is
// known.
func (s *Store) LastBackup() int64 {
	b, _ := os.ReadFile(s.path("backed-up"))
	ms, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if ms > s.clock.now()+wallclock.Tolerance.Milliseconds() {
		return 0 // by a clock that was ahead: when it was, nobody knows
	}
	return ms
}

// Free is what the file system has left for the store, in bytes.
func (s *Store) Free() int64 { return int64(min(s.space.Left(), 1<<62)) }
