package storage

import (
	"net/netip"

	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/verify"
	"gatehouse/storage/wallclock"
)

// Bearer is who a token speaks for: see package verify.
type Bearer = verify.Bearer

// What is known of a token's uses.
type (
	Usage  = record.Usage
	Seen   = record.Seen
	Origin = record.Origin
)

// Identify tells which token of this installation a text is, live or not, and
// of which generation. It reads nothing.
func (s *Store) Identify(text string) (id ID, generation byte, ok bool) {
	return s.keys.Identify(text)
}

// Authenticate returns whose token a text is, and counts the use. It returns
// ErrRefused for a text that is no live token of this installation, may not be
// used from that address, or belongs to a user who is not active; it never says
// which. Another error says that the record could not be read,
// or that the end of a rotated secret could not be written.
func (s *Store) Authenticate(text string, from Origin) (Bearer, error) {
	b, e, err := s.verifier.Inspect(text, from.Address, true)
	if err == nil {
		now := s.clock.Now()
		if e.Used.Ms() > now+wallclock.Tolerance.Milliseconds() {
			s.Now() // the clock may have been set just now
			limit, set := s.clock.Plausible()
			s.table.RectifyOne(b.ID, table.Times{Limit: limit, Set: set, Now: now})
		}
		s.table.Touch(b.ID, e.Slot, now, from.Cut())
	}
	return b, err
}

// Inspect returns whose token a text is, as Authenticate does for a use from that
// address, or ErrRefused. It counts no use.
func (s *Store) Inspect(text string, from netip.Addr) (Bearer, error) {
	b, _, err := s.verifier.Inspect(text, netip.Addr{}, false)
	if err == nil && b.Token != nil && !b.Token.AllowsAddress(from) {
		return Bearer{}, ErrRefused
	}
	return b, err
}

// newVerifier makes the verifier. The table must be there.
func newVerifier(s *Store) *verify.Verifier {
	return verify.New(verify.Options{
		Keys: s.keys, Owners: s.table.Owners, Find: s.lookup, Read: s.Token, Now: s.clock.Now,
		Retire: s.retire,
		Stale: func(id ID, uid string, from netip.Addr) {
			by := Actor{}
			if from.IsValid() {
				by.Address = from.String()
			}
			s.Note(by, Event{Action: ActionTokenStale, UID: uid, Token: id.String()})
		},
	})
}
