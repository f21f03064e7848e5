// Package surplus finds the users who have too many records of revoked tokens, and has
// the records beyond [Keep] dropped.
//
//	Note      counts revocations; users with enough of them are checked
//	Walk      finds, in a walk over all tokens, users with revocations from before the start
//	Run       checks one user after the other, until the store closes
//
// It keeps no record and reads none itself. It never undoes a revocation: the
// token's end stays, only its record goes.
package surplus

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Keep is the number of records of revoked tokens that the store keeps for each user, for
// listings: the latest 100, for a while up to 200. For every other revoked token it keeps
// only the end. Without that bound a script that makes a token for each of its runs, and
// revokes it, would fill the disk.
const Keep = 100

// Token is a revoked token in the order of the revocations.
type Token struct {
	At int64 // ms
	ID keys.ID
}

// Options are the functions that read and drop the records.
type Options struct {
	// Revoked returns some of a user's revoked tokens after a place, and the next place,
	// which is empty when there are no more tokens. The first place is empty, too.
	Revoked func(owner record.UserID, after string) (list []Token, next string, err error)
	// Drop drops the records of revoked tokens.
	Drop func([]Token) error

	Closing <-chan struct{}
	Failed  func(error) // is told of errors; a later run finds the records again
}

// Finder finds the users who have too many records of revoked tokens. Its methods may
// be called from many goroutines.
type Finder struct {
	o       Options
	mu      sync.Mutex
	revoked map[record.UserID]int // revocations since this user's tokens were last checked
	due     []record.UserID       // users to check
	wake    chan struct{}
}

// New returns a finder.
func New(o Options) *Finder {
	return &Finder{o: o, revoked: make(map[record.UserID]int), wake: make(chan struct{}, 1)}
}

// Note counts revocations of one user's tokens.
func (p *Finder) Note(owner record.UserID, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.revoked[owner] += n; p.revoked[owner] < Keep {
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

func (p *Finder) next() (owner record.UserID, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.due) == 0 {
		return 0, false
	}
	owner, p.due = p.due[0], p.due[1:]
	return owner, true
}

// Run drops the records of revoked tokens beyond those that are kept, until the
// store closes.
func (p *Finder) Run() {
	for {
		select {
		case <-p.wake:
		case <-p.o.Closing:
			return
		}
		for owner, ok := p.next(); ok; owner, ok = p.next() {
			err := p.DropOf(owner)
			if errors.Is(err, disk.ErrClosed) {
				return
			}
			if err != nil {
				p.o.Failed(err)
			}
		}
	}
}

// DropOf drops the records of a user's revoked tokens, except those revoked last.
func (p *Finder) DropOf(owner record.UserID) error {
	var kept []Token // sorted, the latest first
	after := ""
	for {
		list, next, err := p.o.Revoked(owner, after)
		if err != nil {
			return err
		}
		kept = append(kept, list...)
		slices.SortFunc(kept, func(a, b Token) int { return cmp.Compare(b.At, a.At) })
		if len(kept) > Keep {
			if err := p.o.Drop(kept[Keep:]); err != nil {
				return err
			}
			kept = kept[:Keep]
		}
		if after = next; next == "" {
			return nil
		}
	}
}

// Walk counts the revoked tokens of each user during the walk that a checkpoint makes
// over all tokens: Note does not know the revocations from before the start.
type Walk struct {
	owner record.UserID
	n     int
}

// Take takes the next key of a user's token.
func (r *Walk) Take(ownedKey []byte, p *Finder) {
	if ownedKey[9] == 0 {
		return
	}
	if owner := record.DecodeUserID(ownedKey[1:]); owner != r.owner {
		*r = Walk{owner: owner}
	}
	if r.n++; r.n == 2*Keep {
		p.Note(r.owner, r.n)
	}
}
