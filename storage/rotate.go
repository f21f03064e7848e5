package storage

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"gatehouse/storage/record"
)

// ByUser stands for the generation of a secret where the user asks without one.
const ByUser = -1

// RotateToken gives a token a new secret. The old one is good until the new one
// is first used, or until the overlap ends.
//
// It is safe to retry: as long as the new secret has not been used and the
// overlap has not ended, asking again gives the same one, and can only make the
// overlap shorter. With is the generation of the secret that asks, or ByUser;
// a caller that has the new secret already starts another rotation. It returns
// ErrNoToken, ErrWornOut, ErrRefused when the secret that asks has ended, or an
// *InvalidError.
func (s *Store) RotateToken(by Actor, id ID, overlap time.Duration, with int) (Token, Secret, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Token{}, "", record.Invalidf("an overlap lasts at most %d days", MaxOverlap/(24*time.Hour))
	}
	var v Token
	err := s.change(by, func(t *tx) (err error) {
		if v, err = t.token(id); err != nil {
			return err
		}
		if v.Revoked != 0 {
			return ErrNoToken
		}
		end := int64(0)
		if overlap > 0 {
			end = t.now + overlap.Milliseconds()
		}
		switch before := int(v.Generation) - 1; {
		case v.Overlap > t.now && (with == ByUser || with == before): // asked again
			if end >= v.Overlap {
				return nil
			}
		case with != ByUser && with != int(v.Generation):
			return ErrRefused // it has ended since it was let through
		case v.Generation == 255:
			return ErrWornOut
		default:
			v.Generation++
		}
		v.Overlap = end
		return t.update(v, ActionTokenRotate)
	})
	if err != nil {
		return Token{}, "", err
	}
	return v, s.Reveal(v), nil
}

// update puts the changed record of a live token.
func (t *tx) update(v Token, action string) error {
	u, err := t.userByID(v.Owner)
	if err != nil {
		return err
	}
	b, err := v.Value()
	if err != nil {
		return err
	}
	t.event(Event{Action: action, UID: u.UID, Token: v.ID.String()})
	t.put(record.TokenKey(v.ID), b)
	t.durable(func() { t.admit(v) })
	return nil
}

// inspectRotated decides about the secrets of a token that was rotated. The
// first use of the new one ends the old one, on the disk, before it is answered.
func (v *verifier) inspectRotated(b Bearer, from netip.Addr, use bool) error {
	t := *b.Token
	switch {
	case b.Generation == t.Generation:
		if !use {
			return nil
		}
		return v.s.takeAway(Actor{Name: "rotation"}, func(tx *tx) error {
			v, err := tx.token(t.ID)
			if err != nil || v.Overlap == 0 || v.Generation != t.Generation || v.Revoked != 0 {
				return err
			}
			v.Overlap = 0
			return tx.update(v, ActionTokenRetire)
		})
	case t.Accepts(b.Generation, v.s.clock.Now()):
		return nil
	}
	v.noteStale(t.ID, b.UID, from)
	return ErrRefused
}

// stale remembers of which tokens a use of an ended secret was noted.
type stale struct {
	mu    sync.Mutex
	noted map[ID]int64 // ms
}

// What a flood of ended secrets may leave in the audit log: one event a token
// in a minute, of so many tokens.
const (
	staleEvery = time.Minute
	maxStale   = 1000
)

// noteStale brings into the audit log that somebody still has, or has stolen, a
// secret that a rotation had ended.
func (v *verifier) noteStale(id ID, uid string, from netip.Addr) {
	now := v.s.clock.Now()
	v.stale.mu.Lock()
	defer v.stale.mu.Unlock()
	if last, ok := v.stale.noted[id]; ok && now < last+staleEvery.Milliseconds() {
		return
	}
	if v.stale.noted == nil {
		v.stale.noted = make(map[ID]int64)
	}
	if len(v.stale.noted) >= maxStale {
		maps.DeleteFunc(v.stale.noted, func(_ ID, last int64) bool { return now >= last+staleEvery.Milliseconds() })
		if len(v.stale.noted) >= maxStale {
			return
		}
	}
	v.stale.noted[id] = now
	by := Actor{}
	if from.IsValid() {
		by.Address = from.String()
	}
	v.s.Note(by, Event{Action: ActionTokenStale, UID: uid, Token: id.String()})
}
