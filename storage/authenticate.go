package storage

import (
	"net/netip"
	"sync"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/wallclock"
)

// What is known of a token's uses.
type (
	Usage  = record.Usage
	Seen   = record.Seen
	Origin = record.Origin
)

// Bearer is who a token speaks for. Token is there only when the token is
// limited: what an unlimited one may do needs no look at its record.
type Bearer struct {
	ID         ID
	Name       string // the ID as String writes it; it is a part of the token's text
	Owner      UserID
	UID        string // the owner's
	Generation byte
	Token      *Token // not to be changed: others have it, too
	slot       uint32 // of the table, where it was seen
	used       record.LastUse
}

// Limited reports whether the token may do less than its user.
func (b *Bearer) Limited() bool { return b.Token != nil && b.Token.Limited() }

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
	b, err := s.verifier.inspect(text, from.Address, true)
	if err == nil {
		now := s.clock.Now()
		if b.used.Ms() > now+wallclock.Tolerance.Milliseconds() {
			s.Now() // the clock may have been set just now
			limit, set := s.clock.Plausible()
			s.table.RectifyOne(b.ID, table.Times{Limit: limit, Set: set, Now: now})
		}
		s.table.Touch(b.ID, b.slot, now, from.Cut())
	}
	return b, err
}

// Inspect returns whose token a text is, as Authenticate does for a use from that
// address, or ErrRefused. It counts no use.
func (s *Store) Inspect(text string, from netip.Addr) (Bearer, error) {
	b, err := s.verifier.inspect(text, netip.Addr{}, false)
	if err == nil && b.Token != nil && !b.Token.AllowsAddress(from) {
		return Bearer{}, ErrRefused
	}
	return b, err
}

// verifier decides whose token a text is. It reads the table and, only of what is rare,
// the record.
type verifier struct {
	s      *Store
	limits limits
	stale  stale
}

// inspect checks form, CRC, keyed part, table and owner, in this order, and
// only of what is rare the record.
func (v *verifier) inspect(text string, from netip.Addr, use bool) (Bearer, error) {
	id, generation, ok := v.s.keys.Identify(text)
	if !ok {
		return Bearer{}, ErrRefused
	}
	e, ok, err := v.s.lookup(id)
	if err != nil {
		return Bearer{}, err
	}
	o := record.Owner{State: UserRemoved}
	if ok {
		o = v.s.table.Owners.At(e.Owner)
	}
	if o.State != UserActive {
		return Bearer{}, ErrRefused
	}
	if e.Generation != generation && e.Flags&record.FlagRotated == 0 {
		v.noteStale(id, o.UID, from)
		return Bearer{}, ErrRefused
	}
	b := Bearer{ID: id, Name: text[:2*keys.IDSize], Owner: o.ID, UID: o.UID, Generation: generation, slot: e.Slot, used: e.Used}
	if e.Flags == 0 {
		return b, nil
	}
	if b.Token, err = v.limited(id); err != nil {
		return Bearer{}, err
	}
	if b.Token.Expired(v.s.clock.Now()) || use && !b.Token.AllowsAddress(from) {
		return Bearer{}, ErrRefused
	}
	if e.Flags&record.FlagRotated != 0 {
		err = v.inspectRotated(b, from, use)
	}
	return b, err
}

// limits keeps the records of tokens that may not do all that their user may: of these
// a verification must know more than the table has. It is cut into shards by the id's
// first random byte.
type limits [256]limitShard

// A record that was read while the writer changed it is not kept: turn counts
// the changes.
type limitShard struct {
	mu      sync.Mutex
	turn    uint64
	records map[keys.ID]*Token
}

// mostLimits is how many records a shard keeps.
const mostLimits = 64

func (l *limits) get(id keys.ID) (t *Token, turn uint64) {
	sh := &l[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.records[id], sh.turn
}

// drop is the writer's, once the change is on the disk: the record has changed.
func (l *limits) drop(id keys.ID) {
	sh := &l[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.turn++
	delete(sh.records, id)
}

// keep keeps a record that was read in a turn.
func (l *limits) keep(t *Token, turn uint64) {
	sh := &l[t.ID[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.turn != turn {
		return
	}
	if sh.records == nil {
		sh.records = make(map[keys.ID]*Token)
	}
	for id := range sh.records { // any will do: they come again when they are needed
		if len(sh.records) < mostLimits {
			break
		}
		delete(sh.records, id)
	}
	sh.records[t.ID] = t
}

// limited returns the record of a limited token, of which only what limits it
// is up to date.
func (v *verifier) limited(id keys.ID) (*Token, error) {
	t, turn := v.limits.get(id)
	if t != nil {
		return t, nil
	}
	read, err := v.s.Token(id)
	if err != nil {
		return nil, err
	}
	v.limits.keep(&read, turn)
	return &read, nil
}
