package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Actor is who asked for a change, and from where.
type Actor struct {
	Name    string // a uid, the name of an account of the host, or what in Gatehouse did it
	Address string // empty for what came by the unix socket
}

// The actions of events.
const (
	ActionUserAdd         = "user.add"
	ActionUserPassword    = "user.password"
	ActionUserDisable     = "user.disable"
	ActionUserEnable      = "user.enable"
	ActionUserRemove      = "user.remove"
	ActionUserRename      = "user.rename"
	ActionUserSessions    = "user.sessions" // all sessions but one were ended, by that one
	ActionUserUnlock      = "user.unlock"   // a login delay was lifted
	ActionUserLink        = "user.link"
	ActionUserUnlink      = "user.unlink"
	ActionUserSuspend     = "user.suspend"
	ActionUserResume      = "user.resume"
	ActionOffboardHeld    = "offboard.held"
	ActionOffboardConfirm = "offboard.confirm"
	ActionTokenCreate     = "token.create"
	ActionTokenRevoke     = "token.revoke"
	ActionTokensRevoke    = "tokens.revoke" // all that matched; each has an event of its own
	ActionTokenRotate     = "token.rotate"
	ActionTokenRetire     = "token.retire" // the secret before a rotation ended, for the new one was used
	ActionTokenStale      = "token.stale"  // a secret was used that a rotation had ended
	ActionTokenRename     = "token.rename"
	ActionTokenIntrospect = "token.introspect" // another user asked what the token is
	ActionLogin           = "login"
	ActionLoginRefused    = "login.refused"
	ActionBackup          = "backup"
	ActionImport          = "import"
	ActionRestore         = "restore"
	ActionAuditPrune      = "audit.prune"
	ActionAuditHeld       = "audit.held"    // events would have been dropped because of their age
	ActionAuditConfirm    = "audit.confirm" // they may be
	ActionIdleHeld        = "idle.held"     // idle tokens would have been revoked
	ActionIdleConfirm     = "idle.confirm"  // they may be
	ActionClockDoubt      = "clock.doubt"   // what the clock says is not believed
	ActionClockConfirm    = "clock.confirm" // an administrator says that it is right
)

var errSlow = errors.New("the disk is too slow")

// Note writes events that change nothing. It does not wait for the disk.
func (s *Store) Note(by Actor, e Event) {
	c := &change{by: by, note: &e, fn: func(t *tx) error { t.event(e); return nil }, done: make(chan struct{})}
	select {
	case s.writer.changes <- c:
	default:
		s.states.events.Set(errSlow, "action", e.Action, "uid", e.UID, "token", e.Token, "address", by.Address)
	}
}

// Events yields the audit log after the given sequence, the oldest first; with
// follow it goes on with each event as it becomes durable, until ctx ends.
func (s *Store) Events(ctx context.Context, after uint64, follow bool) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		after = max(after, s.journal.FirstSequence()-1)
		stop := errors.New("stop")
		one := func(jr journal.Record) error {
			r, err := record.ParseEntry(jr)
			if err != nil {
				return err
			}
			if r.Event.Action != "" && !yield(r.Event, nil) {
				return stop
			}
			return nil
		}
		var err error
		if !follow {
			err = s.journal.Replay(ctx, after, one)
		} else {
			for jr, e := range s.journal.Follow(ctx, after) {
				if err = e; err == nil {
					err = one(jr)
				}
				if err != nil {
					break
				}
			}
		}
		if err != nil && err != stop {
			yield(Event{}, err)
		}
	}
}

// LastSequence is that of the latest durable record.
func (s *Store) LastSequence() uint64 { return s.journal.LastSequence() }

// Verified says what a verification of the audit log has read.
type Verified struct {
	First, Last uint64 // the oldest record that is kept, and the latest
	End         string // the number and the hash of the latest, as atLeast takes them
}

// RolledBackError says that the audit log, which is whole, is not the one in which
// somebody saw a record: it is of an older copy of the directory, or went on from one.
type RolledBackError struct{ Message string }

func (e *RolledBackError) Error() string { return e.Message }

// VerifyEvents reads the whole chain of the audit log and, unless it is empty, looks
// for a record by the number and the hash that an earlier call gave. It returns
// ErrDamaged as VerifyJournal does, a *RolledBackError when the log does not have that
// record, and an *InvalidError for one of another form.
func (s *Store) VerifyEvents(ctx context.Context, atLeast string) (v Verified, err error) {
	end := s.journal.End()
	v = Verified{First: s.journal.FirstSequence(), Last: end.Sequence, End: end.String()}
	var known journal.Position
	if atLeast != "" {
		if known, err = journal.ParsePosition(atLeast); err != nil {
			return v, &InvalidError{Message: err.Error()}
		}
	}
	if err := s.VerifyJournal(ctx); err != nil || atLeast == "" {
		return v, err
	}
	err = s.journal.Has(ctx, known)
	switch {
	case errors.Is(err, journal.ErrPruned):
		err = &RolledBackError{fmt.Sprintf("the audit log begins with record %d, so nobody can tell whether it had this record %d: keep a later one", v.First, known.Sequence)}
	case errors.Is(err, journal.ErrElsewhere) && known.Sequence > v.Last:
		err = &RolledBackError{fmt.Sprintf("the audit log ends with record %d, before record %d: it is an older copy, or a backup was restored, and what came later is gone", v.Last, known.Sequence)}
	case errors.Is(err, journal.ErrElsewhere):
		err = &RolledBackError{fmt.Sprintf("the audit log has another record %d: it is of an older copy, or of a restored backup, that went on without what came later", known.Sequence)}
	}
	return v, err
}

// VerifyJournal reads the whole chain of the audit log. It returns ErrDamaged,
// with file and offset, for the first thing that was changed.
func (s *Store) VerifyJournal(ctx context.Context) error {
	err := s.journal.Verify(ctx)
	if errors.As(err, new(*journal.CorruptError)) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
