package storage

import (
	"time"

	"gatehouse/storage/audit"
	"gatehouse/storage/record"
)

// The actions of events. Package record has those that package audit needs.
const (
	ActionUserAdd         = "user.add"
	ActionUserPassword    = "user.password"
	ActionUserDisable     = "user.disable"
	ActionUserEnable      = "user.enable"
	ActionUserRemove      = "user.remove"
	ActionUserRename      = "user.rename"
	ActionUserSessions    = "user.sessions" // one session ended all the others
	ActionUserUnlock      = "user.unlock"   // a login delay was lifted
	ActionUserLink        = "user.link"
	ActionUserUnlink      = "user.unlink"
	ActionUserSuspend     = "user.suspend"
	ActionUserResume      = "user.resume"
	ActionServiceAdd      = "service.add"
	ActionServiceTransfer = "service.transfer" // it has another owner
	ActionServiceOrphan   = "service.orphan"   // its owner was removed, and nobody follows
	ActionServiceRemove   = "service.remove"
	ActionUserLogout      = "user.logout"     // a provider ended the user's sessions
	ActionUserSCIM        = "user.scim"       // a provider said by SCIM what has become of the user
	ActionUserUnverified  = "user.unverified" // a provider can no longer be asked about the user
	ActionOffboardHeld    = "offboard.held"
	ActionOffboardConfirm = "offboard.confirm"
	ActionTokenCreate     = record.ActionTokenCreate
	ActionTokenRevoke     = "token.revoke"
	ActionTokensRevoke    = "tokens.revoke" // all that matched; each also has its own event
	ActionTokenFound      = "token.found"   // a scan found it at Detail, and so it is revoked
	ActionTokenRotate     = "token.rotate"
	ActionTokenRetire     = "token.retire" // the old secret ended because the new one was used
	ActionTokenStale      = "token.stale"  // a secret was used after a rotation had ended it
	ActionTokenRename     = "token.rename"
	ActionTokenIntrospect = "token.introspect" // another user asked what the token is
	ActionKeyRotate       = "key.rotate"
	ActionKeyKept         = "key.kept" // a rotation failed or was interrupted, and the token keys stayed
	ActionKeyDrop         = "key.drop" // no token needed a token key any more
	ActionLogin           = "login"
	ActionLoginRefused    = "login.refused"
	ActionBackup          = "backup"
	ActionImport          = "import"
	ActionRestore         = "restore"
	ActionAuditPrune      = record.ActionAuditPrune
	ActionAuditHeld       = record.ActionAuditHeld // old events would have been dropped, and were kept
	ActionAuditConfirm    = "audit.confirm"        // an administrator allowed it
	ActionIdleHeld        = "idle.held"            // idle tokens would have been revoked
	ActionIdleConfirm     = "idle.confirm"         // an administrator allowed it
	ActionClockDoubt      = "clock.doubt"          // the clock is not trusted
	ActionClockConfirm    = "clock.confirm"        // an administrator says that the clock is right
)

// Note writes an event that changes nothing. It does not wait for the disk.
func (s *Store) Note(by Actor, e Event) { s.writer.Note(by, e) }

// Audit is the audit log.
func (s *Store) Audit() audit.Log { return audit.Of(s.journal) }

func newRetention(s *Store, covered uint64) *audit.Retention {
	r := audit.NewRetention(audit.Options{
		Journal: s.journal, Now: s.Now,
		Keep: func() time.Duration { return s.bounds.Load().KeepEvents }, Most: func() int64 { return s.bounds.Load().MostEvents },
		Note: func(e Event) { s.Note(Actor{Name: "retention"}, e) }, Log: s.opts.Log,
	})
	r.Cover(covered)
	return r
}

// HeldEvents returns how many events are old enough to be dropped but are held, out of
// how many, and why. The error is nil if none is held.
func (s *Store) HeldEvents() (n, of int, why error) { return s.checkpoints.retention.Held() }

// DropHeldEvents drops the events that are held.
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
