package storage

import (
	"time"

	"gatehouse/storage/record"
)

// ByUser replaces the generation of a secret when the user asks without a
// token.
const ByUser = -1

// RotateToken gives a token a new secret. The old secret is valid until the new
// one is first used, or until the overlap ends.
//
// It is safe to retry: as long as the new secret has not been used and the
// overlap has not ended, another call returns the same secret, and can only
// make the overlap shorter. The parameter with is the generation of the secret
// that the caller used, or ByUser; a call with the new secret starts another
// rotation. RotateToken returns ErrNoToken, ErrWornOut, ErrRefused when the
// caller's secret has ended, or an *InvalidError.
func (s *Store) RotateToken(by Actor, id ID, overlap time.Duration, with int) (Token, Secret, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Token{}, "", record.Invalidf("an overlap lasts at most %d days", MaxOverlap/(24*time.Hour))
	}
	var v Token
	err := s.change(by, func(t *tx) (err error) {
		if v, err = t.Token(id); err != nil {
			return err
		}
		if v.Revoked != 0 {
			return ErrNoToken
		}
		end := int64(0)
		if overlap > 0 {
			end = t.Now + overlap.Milliseconds()
		}
		switch before := int(v.Generation) - 1; {
		case v.Overlap > t.Now && (with == ByUser || with == before): // a retry
			if end >= v.Overlap {
				return nil
			}
		case with != ByUser && with != int(v.Generation):
			return ErrRefused // the secret has ended since it was verified
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
	u, err := t.User(v.Owner)
	if err != nil {
		return err
	}
	b, err := v.Value()
	if err != nil {
		return err
	}
	t.Event(Event{Action: action, UID: u.UID, Token: v.ID.String()})
	t.Put(record.TokenKey(v.ID), b)
	t.Durable(func() { t.admit(v) })
	return nil
}

// retire ends the old secret of a rotated token when the new one is first used.
func (s *Store) retire(id ID, generation byte) error {
	return s.takeAway(Actor{Name: "rotation"}, func(t *tx) error {
		v, err := t.Token(id)
		if err != nil || v.Overlap == 0 || v.Generation != generation || v.Revoked != 0 {
			return err
		}
		v.Overlap = 0
		return t.update(v, ActionTokenRetire)
	})
}
