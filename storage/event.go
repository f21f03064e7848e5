package storage

import (
	"errors"
	"time"

	"gatehouse/storage/audit"
	"gatehouse/storage/record"
)

// Actor is who asked for a change, and from where.
type Actor struct {
	Name    string // a uid, the name of an account of the host, or what in Gatehouse did it
	Address string // empty for what came by the unix socket
}

// The actions of events. Those that package audit needs are in package record.
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
	ActionTokenCreate     = record.ActionTokenCreate
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
	ActionAuditPrune      = record.ActionAuditPrune
	ActionAuditHeld       = record.ActionAuditHeld // events would have been dropped because of their age
	ActionAuditConfirm    = "audit.confirm"        // they may be
	ActionIdleHeld        = "idle.held"            // idle tokens would have been revoked
	ActionIdleConfirm     = "idle.confirm"         // they may be
	ActionClockDoubt      = "clock.doubt"          // what the clock says is not believed
	ActionClockConfirm    = "clock.confirm"        // an administrator says that it is right
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

// Audit is the audit log.
func (s *Store) Audit() audit.Log { return audit.Of(s.journal) }

func newRetention(s *Store) *audit.Retention {
	r := audit.NewRetention(audit.Options{
		Journal: s.journal, Now: s.Now,
		Keep: func() time.Duration { return s.bounds.Load().KeepEvents }, Most: func() int64 { return s.bounds.Load().MostEvents },
		Note: func(e Event) { s.Note(Actor{Name: "retention"}, e) }, Log: s.opts.Log,
	})
	r.Cover(s.checkpoints.file.Last().Sequence)
	return r
}

// HeldEvents returns how many events are older than they are kept and are not dropped,
// of how many, and why; no error if none is held.
func (s *Store) HeldEvents() (n, of int, why error) { return s.checkpoints.retention.Held() }

// DropHeldEvents lets the events that are held go.
func (s *Store) DropHeldEvents(by Actor) error {
	n, _, why := s.HeldEvents()
	if why == nil {
		return nil
	}
	for s.checkpoints.busy.Swap(true) { // a checkpoint is being made, which drops events too
		if s.isClosing() {
			return ErrClosed
		}
		time.Sleep(20 * time.Millisecond)
	}
	defer s.checkpoints.busy.Store(false)
	s.Note(by, Event{Action: ActionAuditConfirm, Count: n})
	s.checkpoints.retention.PruneHeld()
	return nil
}
