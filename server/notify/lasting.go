package notify

import (
	"errors"
	"fmt"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/notify/wording"
	"gatehouse/storage/notices"
)

// Hold says what a sweep holds.
type Hold struct {
	Sweep  string // tells it from others
	Source string
	Known  bool // the sweep has run since the start
	Count  int  // changes that are held; 0: none
	Why    string
}

// lookEvery is how often lasting looks at the age of the last backup.
const lookEvery = 10 * time.Second

// lasting makes the notices of states that begin: a sweep is held, the last backup is too old.
func (s *Notifier) lasting(now time.Time) error {
	held := errors.Join(s.holds()...)
	if now.Sub(s.looked).Abs() < lookEvery {
		return held
	}
	s.looked = now
	return errors.Join(held, s.backup())
}

func (s *Notifier) holds() (failed []error) {
	all := s.Store.Notices()
	for _, h := range s.Held() {
		state := all.ID("state", h.Sweep)
		if !h.Known && h.Count == 0 {
			continue // it may still be held, as before the start
		}
		lasts, err := all.Lasts(state)
		switch {
		case err != nil:
		case h.Count == 0 && lasts:
			err = all.EndState(state)
		case h.Count > 0 && !lasts:
			err = s.holding(h)
		}
		failed = append(failed, err)
	}
	return failed
}

func (s *Notifier) holding(h Hold) error {
	now, _ := s.Store.Now()
	n, err := s.draft(wording.Event{Type: wording.SweepHeld, Source: h.Source, Count: h.Count, Why: h.Why}, 0, h.Sweep, fmt.Sprint(now.UnixMilli()))
	if err != nil {
		return err
	}
	return s.post("sweeps", notices.Draft{Notice: n, State: s.Store.Notices().ID("state", h.Sweep)})
}

// backup makes one notice when the last backup is too old, and no other until there is a
// newer backup.
func (s *Notifier) backup() error {
	last, age := s.Store.LastBackup()
	if age <= api.BackupWithin {
		return nil
	}
	state := s.Store.Notices().ID("state", "backup", fmt.Sprint(last))
	if lasts, err := s.Store.Notices().Lasts(state); err != nil || lasts {
		return err
	}
	n, err := s.draft(wording.Event{Type: wording.BackupLate, LastBackup: last}, 0, fmt.Sprint(last))
	if err != nil {
		return err
	}
	return s.post("backups", notices.Draft{Notice: n, State: state})
}
