package storage

import (
	"errors"
	"fmt"
	"runtime"

	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/uses"
)

// newUses makes the flusher. The table must be there.
func newUses(s *Store) *uses.Flusher {
	return uses.New(uses.Options{
		Table: s.table, Log: s.opening.useLog,
		Update:    s.upkeep.updateUsages,
		Noted:     s.views.NoteUses,
		Plausible: s.clock.plausible,
		// Before the index is compared, a tick would come to wait for that: for
		// seconds, which a kill takes.
		Hurry:   func() bool { return !isClosed(s.opening.compared) },
		Full:    func(err error) bool { return errors.Is(err, ErrNoSpace) },
		Closing: s.closing,
	})
}

// Counted is closed when the uses are counted that a stop or a kill had left in their
// log: some time after Open. Until then listings show fewer uses.
func (s *Store) Counted() <-chan struct{} { return s.uses.Counted() }

// recoverUses brings what the log of uses had at the start into the index.
func (u *upkeep) recoverUses() {
	s := u.s
	err := s.uses.Recover(nil)
	if err != nil && !s.isClosing() {
		s.opts.Log.Error("uses of before the start are not counted; the next start tries again", "error", err)
	}
	if errors.Is(err, ErrDamaged) && !s.index.Damaged() {
		s.index.NoteDamage(err)
	}
}

// raiseFromLog brings the last uses up to the log's, so that none goes back.
func (o *opening) raiseFromLog() error {
	return o.useLog.LastUses(func(id keys.ID, used record.LastUse) { o.s.table.Raise(id, o.s.clock.believe(used)) })
}

// updateUsages changes the usages of a few tokens in the index, in one transaction.
func (u *upkeep) updateUsages(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error {
	return u.s.index.Write(200*len(ids), func(out *index.Update) error {
		rd := &reader{&out.View, u.s}
		for n, id := range ids {
			if n%8 == 0 {
				runtime.Gosched() // requests come first
			}
			if there, err := rd.hasToken(id); err != nil || !there {
				if err != nil {
					return err
				}
				continue // its record was dropped, and its usage with it
			}
			r, err := rd.usageOf(id)
			if err != nil {
				return err
			}
			change(id, &r)
			k := record.UsageKey(id)
			if err := out.Put(k, r.Value(), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// hasToken reports whether a token is live, or has a record.
func (rd *reader) hasToken(id keys.ID) (ok bool, err error) {
	if _, live, _ := rd.s.table.Get(id); live {
		return true, nil
	}
	_, ok, err = rd.Stored(record.TokenKey(id))
	return ok, err
}

// usageOf reads what the index has of a token's usage.
func (rd *reader) usageOf(id keys.ID) (r record.UsageRecord, err error) {
	b, ok, err := rd.Get(record.UsageKey(id))
	if err != nil || !ok {
		return r, err
	}
	if r, err = record.ParseUsage(b); err != nil {
		return r, fmt.Errorf("token %s: %w", id, err)
	}
	rd.s.clock.believeUsage(&r)
	return r, nil
}
