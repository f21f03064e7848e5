package storage

import (
	"math"

	"gatehouse/storage/record"
)

// allowance says how many working tokens a user holds. Only the writer uses it.
// All changes wait for the writer, so it must not read a user's tokens one by
// one each time a token is created or refused.
type allowance struct {
	held  int
	until int64 // ms; the count can't fall before then, except by a revocation
}

// checkAllowance returns ErrTooMany when the user holds all the tokens it may.
// Tokens that have expired do not count.
func (t *tx) checkAllowance(owner UserID) error {
	most := t.s.bounds.Load().MaxPerUser
	if most == 0 {
		return nil
	}
	r, known := t.s.noted.allowances[owner]
	if !known || r.held >= most && t.Now >= r.until {
		var err error
		if r, err = t.measure(owner); err != nil {
			return err
		}
		t.s.noted.allowances[owner] = r
	}
	if r.held >= most {
		return ErrTooMany
	}
	return nil
}

// measure counts a user's tokens. When more expired tokens remain than the user
// may hold, it revokes the oldest of them, more than were created since the
// last time: a script may create one-minute tokens for years.
func (t *tx) measure(owner UserID) (allowance, error) {
	most := t.s.bounds.Load().MaxPerUser
	var held []ID
	for k := range t.Scan(record.HeldBy(owner)) {
		_, id := record.CutOwnedKey(k)
		held = append(held, id)
	}
	if len(held) < most {
		return allowance{held: len(held)}, nil
	}
	r := allowance{until: math.MaxInt64}
	var expired []ID
	for _, id := range held {
		switch v, err := t.Token(id); {
		case err != nil:
			return r, err
		case v.Expired(t.Now):
			expired = append(expired, id)
		case v.Revoked == 0:
			r.held++
			if end := v.Ends(); end != 0 {
				r.until = min(r.until, end)
			}
		}
	}
	if r.held >= most || len(expired) <= most {
		return r, nil
	}
	expired = expired[:min(len(expired), MostRevoked)]
	for _, id := range expired {
		if _, err := t.revoke(id); err != nil {
			return r, err
		}
	}
	return allowance{held: max(r.held, most-len(expired))}, nil
}
