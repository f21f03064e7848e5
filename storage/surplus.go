package storage

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"gatehouse/storage/record"
)

// KeepRevoked is how many revoked tokens of a user the store keeps the records of, for
// listings: those revoked last, and at times up to twice as many. Of each other it keeps
// the end alone (restore.go). Without that bound a script that makes a token for each of
// its runs, and revokes it, would fill the disk.
const KeepRevoked = 100

// surplus finds the users of whom too many revoked tokens are kept.
type surplus struct {
	s       *Store
	mu      sync.Mutex
	revoked map[UserID]int // revocations since this user's tokens were last looked at
	due     []UserID       // those to look at
	wake    chan struct{}
}

func newSurplus() surplus {
	return surplus{revoked: make(map[UserID]int), wake: make(chan struct{}, 1)}
}

// note counts revocations of one user's tokens.
func (p *surplus) note(owner UserID, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revoked[owner] += n; p.revoked[owner] < KeepRevoked {
		return
	}
	delete(p.revoked, owner)
	if !slices.Contains(p.due, owner) {
		p.due = append(p.due, owner)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *surplus) next() (owner UserID, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		return 0, false
	}
	owner, p.due = p.due[0], p.due[1:]
	return owner, true
}

// run drops the records of revoked tokens beyond those that are kept, until the
// store closes.
func (p *surplus) run() {
	defer p.s.stop.closed.Done()
	for {
		select {
		case <-p.wake:
		case <-p.s.closing:
			return
		}
		for owner, ok := p.next(); ok; owner, ok = p.next() {
			err := p.dropOf(owner)
			if errors.Is(err, ErrClosed) {
				return
			}
			if err != nil && !errors.Is(err, ErrNoSpace) { // there is time: a later look finds them again
				p.s.opts.Log.Warn("records of revoked tokens are not yet dropped", "error", err)
			}
		}
	}
}

// revokedToken is a revoked token in the order of the revocations.
type revokedToken struct {
	at int64 // ms
	id ID
}

// dropOf drops the records of a user's revoked tokens, except those revoked last.
func (p *surplus) dropOf(owner UserID) error {
	var kept []revokedToken // sorted, the latest first
	q := Owned{Owner: owner, Revoked: true, Limit: 10 * mostRevoked, After: Cursor{string(record.Key('o', owner.Bytes(), []byte{0, 0xff}))}}
	for {
		list, next, err := p.revokedOf(q)
		if err != nil {
			return err
		}
		kept = append(kept, list...)
		slices.SortFunc(kept, func(a, b revokedToken) int { return cmp.Compare(b.at, a.at) })
		if len(kept) > KeepRevoked {
			if err := p.drop(kept[KeepRevoked:]); err != nil {
				return err
			}
			kept = kept[:KeepRevoked]
		}
		if q.After = next; next == (Cursor{}) {
			return nil
		}
	}
}

// revokedOf is Page of what an order of the revocations needs.
func (p *surplus) revokedOf(q Owned) (list []revokedToken, next Cursor, err error) {
	err = p.s.view(func(rd *reader) error {
		var last []byte
		for k := range rd.ownedKeys(q) {
			if len(list) == q.Limit {
				next.key = string(last)
				return nil
			}
			_, id := record.CutOwnedKey(k)
			b, ok, err := rd.Get(record.TokenKey(id))
			if err != nil {
				return err
			}
			if !ok {
				continue // a hint may be behind
			}
			t, err := record.ParseTokenHead(id, b)
			if err != nil {
				return err
			}
			if t.Revoked != 0 && t.Owner == q.Owner {
				list, last = append(list, revokedToken{t.Revoked, id}), append(last[:0], k...)
			}
		}
		return nil
	})
	return list, next, err
}

// drop drops the records of revoked tokens. It does not go on when the store is
// closing, or the disk is full.
func (p *surplus) drop(list []revokedToken) error {
	for part := range slices.Chunk(list, mostRevoked) {
		c := &change{done: make(chan struct{}), fn: func(t *tx) error {
			for _, r := range part {
				if err := t.dropRecord(r.id); err != nil {
					return err
				}
			}
			return nil
		}}
		select {
		case p.s.writer.changes <- c:
		case <-p.s.closing:
			return ErrClosed
		}
		select {
		case <-c.done:
		case <-p.s.closing:
			return ErrClosed
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// dropRecord drops all that is stored of a revoked token but its end.
func (t *tx) dropRecord(id ID) error {
	v, err := t.token(id)
	if errors.Is(err, ErrNoToken) || err == nil && v.Revoked == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	t.delete(v.OwnedKey())
	t.delete(record.UsageKey(id))
	return t.dropRevoked(v)
}

// WasRevoked reports whether a token that the store has no record of was revoked.
func (s *Store) WasRevoked(id ID) (yes bool, err error) {
	err = s.view(func(rd *reader) error {
		end, err := rd.tokenEnd(id)
		yes = end.Revoked != 0
		return err
	})
	return yes, err
}

// revokedRun counts the revoked tokens of one user after the other in a walk over all,
// which a checkpoint makes: surplus does not know of those of before the start.
type revokedRun struct {
	owner UserID
	n     int
}

func (r *revokedRun) take(ownedKey []byte, p *surplus) {
	if ownedKey[9] == 0 {
		return
	}
	if owner := record.DecodeUserID(ownedKey[1:]); owner != r.owner {
		*r = revokedRun{owner: owner}
	}
	if r.n++; r.n == 2*KeepRevoked {
		p.note(r.owner, r.n)
	}
}
