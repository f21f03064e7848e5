package storage

import (
	"net/netip"

	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/verify"
	"gatehouse/storage/wallclock"
)

// Bearer is the user that a token speaks for: see package verify.
type Bearer = verify.Bearer

// The types that describe a token's uses.
type (
	Usage  = record.Usage
	Seen   = record.Seen
	Origin = record.Origin
)

// Identify returns the id and the generation that a token's text names, if this
// installation made it. The token may be dead. Identify reads nothing.
func (s *Store) Identify(text string) (id ID, generation byte, ok bool) {
	return s.keys.Identify(text)
}

// Authenticate returns the bearer of a token and counts the use. It returns
// ErrRefused for a text that is not a live token of this installation, for a
// token that may not be used from that address, and for a token of a user who
// is not active; it never says which. Any other error means that the record could not be
// read, that the end of a rotated secret could not be written, or that the store could not
// be opened.
func (s *Store) Authenticate(text string, from Origin) (Bearer, error) {
	return s.AuthenticateWaiting(text, from, func() {})
}

// AuthenticateWaiting is Authenticate for a caller that must know when it waits: wait is
// called, perhaps more than once, before anything that may wait for the disk. For nearly all
// tokens nothing does.
func (s *Store) AuthenticateWaiting(text string, from Origin, wait func()) (Bearer, error) {
	b, e, err := s.verifier.Verify(text, from.Address, wait)
	if err == nil {
		now := s.clock.Now()
		if e.Used.Ms() > now+wallclock.Tolerance.Milliseconds() {
			wait()
			s.Now() // the clock may have been set just now
			limit, set := s.clock.Plausible()
			s.table.RectifyOne(b.ID, table.Times{Limit: limit, Set: set, Now: now})
		}
		s.table.Touch(b.ID, e.Slot, now, from.Cut())
	}
	return b, err
}

// Inspect returns the bearer of a token as Authenticate does for a use from that
// address, or ErrRefused. It counts no use.
func (s *Store) Inspect(text string, from netip.Addr) (Bearer, error) {
	b, err := s.verifier.Inspect(text)
	if err == nil && b.Token != nil && !b.Token.AllowsAddress(from) {
		return Bearer{}, ErrRefused
	}
	return b, err
}

// newVerifier makes the verifier. The table must exist.
func newVerifier(s *Store) *verify.Verifier {
	return verify.New(verify.Options{
		Keys: s.keys, Owners: s.table.Owners, Find: s.lookupWaiting, Read: s.Token, Now: s.clock.Now,
		Retire: s.retire,
		EndedUse: func(id ID, uid string, from netip.Addr) {
			by := Actor{}
			if from.IsValid() {
				by.Address = from.String()
			}
			s.Note(by, Event{Action: ActionTokenStale, UID: uid, Token: id.String()})
		},
	})
}

// lookup finds a live token. Before all of the table's file is loaded, the token's shard
// is loaded first. Where the file is damaged, the records have the token.
func (s *Store) lookup(id ID) (table.Entry, bool, error) { return s.lookupWaiting(id, func() {}) }

// lookupWaiting is lookup, and calls wait before it may wait for the disk.
func (s *Store) lookupWaiting(id ID, wait func()) (table.Entry, bool, error) {
	e, ok, whole := s.table.Get(id)
	if ok || whole {
		return e, ok, nil
	}
	wait()
	if e, ok, whole = s.table.Lookup(id); ok || whole {
		return e, ok, nil
	}
	if err := s.opening.Await(); err != nil {
		return table.Entry{}, false, err
	}
	e, ok, _ = s.table.Get(id)
	return e, ok, nil
}
