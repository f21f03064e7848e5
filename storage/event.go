package storage

import (
	"log/slog"
	"time"

	"gatehouse/storage/audit"
	"gatehouse/storage/notices"
	"gatehouse/storage/read"
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
	ActionServiceOrphan   = "service.orphan"   // its owner was removed, and there is no successor
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
	ActionTokenNetwork    = "token.network"        // a token was used in a network where it was never used before
)

// Note writes an event that changes nothing. It does not wait for the disk. The event is lost
// when too many changes wait or it can't be written, which is only logged, and when the
// process is killed. Use [Store.Record] for an event that must not be lost.
func (s *Store) Note(by Actor, e Event) { s.writer.Note(by, e) }

// Audit is the audit log.
func (s *Store) Audit() audit.Log { return audit.Of(s.journal) }

func newRetention(s *Store, covered uint64) *audit.Retention {
	r := audit.NewRetention(audit.Options{
		Journal: s.journal, Now: s.Now,
		Keep: func() time.Duration { return s.bounds.Load().KeepEvents }, Most: func() int64 { return s.bounds.Load().MostEvents },
		Note: func(e Event) { s.Note(Actor{Name: "retention"}, e) }, Log: s.opts.Log,
		Failed: func(err error) { s.failed(slog.LevelError, "the journal keeps old segments", err) },
	})
	r.Cover(covered)
	return r
}

// HeldEvents returns how many events are old enough to be dropped but are held, out of
// how many, and why. The error is nil if no events are held.
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

// Notices returns what is stored about notices. Its Deadlines are those of the live tokens
// of this store.
func (s *Store) Notices() *notices.Notices { return &s.notices }

// initNotices sets up the notices. The reads must exist.
func (s *Store) initNotices() {
	s.notices.Index, s.notices.Key = unloggedIndex{s}, s.opening.Notices
	s.notices.Sightings = notices.NewSightings(unloggedIndex{s})
	s.notices.Change = func(actor string, fn func(notices.Change) error) error {
		return s.change(Actor{Name: actor}, func(t *tx) error { return fn(noticeChange{t}) })
	}
	s.notices.Deadlines = &notices.Deadlines{Walk: s.walkEnds, Known: func(id ID) (record.Known, error) {
		return look(s, func(rd *read.Reader) (record.Known, error) { return rd.Known(id) })
	}}
}

// walkEnds calls fn with each token that ends and is not revoked. It reads all records of
// tokens, which takes seconds when there are millions.
func (s *Store) walkEnds(fn func(id ID, created, end int64) error) error {
	if err := s.opening.Await(); err != nil {
		return err
	}
	v, done, err := s.index.Begin() // not s.view, which makes the flusher of uses wait
	if err != nil {
		return err
	}
	defer done()
	return v.Each([]byte{'t'}, func(k, b []byte) error {
		t, err := record.ParseTokenHead(ID(k[1:]), b)
		if err == nil {
			err = s.stillOpen()
		}
		if err != nil || t.Revoked != 0 {
			return err
		}
		if end := record.Earlier(t.Expires, s.keys.Ends(t.ID[0])); end != 0 {
			return fn(t.ID, t.Created, end)
		}
		return nil
	})
}

// noticeChange is a change as package notices sees it.
type noticeChange struct{ *tx }

func (c noticeChange) Now() int64 { return c.Tx.Now }

// Record writes to the audit log an event that changes nothing itself. The event is durable
// when Record returns. On a full disk it goes into the reserve, as revocations do.
func (s *Store) Record(by Actor, e Event) error {
	return s.takeAway(by, func(t *tx) error {
		t.Event(e)
		return nil
	})
}
