package record

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// NoticeID identifies a notice. It is derived from what the notice says, so that none
// is made twice.
type NoticeID [16]byte

func (id NoticeID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes an id into a log of JSON in the form of String.
func (id NoticeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Notice is a message that each target gets once. It stays for a while after that: a
// restore must not send it again.
type Notice struct {
	ID    NoticeID        `json:"-"`
	Made  int64           `json:"made"`            // ms
	User  UserID          `json:"user,omitempty"`  // whose token it is about; mail goes to that user, or to the owner of the service account; 0: nobody gets mail
	Left  []string        `json:"left,omitempty"`  // the targets that have not got it
	Done  int64           `json:"done,omitempty"`  // when the last target got it, or was given up, in ms
	State bool            `json:"state,omitempty"` // it stands for a state that lasts, and is kept until the state ends
	Body  json.RawMessage `json:"body,omitempty"`  // the event; empty once it is done
}

// Pending reports whether a target has not got the notice.
func (n Notice) Pending() bool { return len(n.Left) > 0 }

// With combines what two stores know of one notice: a target that got it in one of them
// has got it.
func (n Notice) With(m Notice) Notice {
	n.Left = slices.DeleteFunc(slices.Clone(n.Left), func(target string) bool { return !slices.Contains(m.Left, target) })
	n.State = n.State || m.State
	if n.Done = max(n.Done, m.Done); !n.Pending() {
		n.Body = nil
	}
	return n
}

// NoticeKey returns the key of a notice.
func NoticeKey(id NoticeID) []byte { return Key('x', id[:]) }

// Value is the record's bytes.
func (n Notice) Value() ([]byte, error) { return json.Marshal(n) }

// ParseNotice decodes the output of [Notice.Value].
func ParseNotice(key, b []byte) (n Notice, err error) {
	if len(key) != 1+len(n.ID) {
		return n, fmt.Errorf("%w: a notice has an unknown key", disk.ErrDamaged)
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return n, fmt.Errorf("%w: a notice: %w", disk.ErrDamaged, err)
	}
	n.ID = NoticeID(key[1:])
	return n, nil
}

// Known is what was noticed about a token.
type Known struct {
	End    int64 `json:"end,omitempty"`    // the end that was told, in ms
	Before int64 `json:"before,omitempty"` // the last step at which it was told, in ms before the end

	Networks []netip.Prefix `json:"networks,omitempty"` // where the token was used, the oldest first; none: its first network is in its usage
}

// MaxNetworks is how many networks are known of a token.
const MaxNetworks = 100

// Told reports whether the end was told at this step, or at a later one.
func (k Known) Told(end, before int64) bool { return k.End == end && k.Before <= before }

// HasNetwork reports whether a token was used in a network before.
func (k Known) HasNetwork(n netip.Prefix) bool { return slices.Contains(k.Networks, n) }

// AddNetwork notes a network. It forgets the oldest beyond the limit.
func (k *Known) AddNetwork(n netip.Prefix) {
	if !k.HasNetwork(n) {
		k.Networks = append(slices.Clone(k.Networks), n)
		k.Networks = k.Networks[max(0, len(k.Networks)-MaxNetworks):]
	}
}

// With combines what two stores know of one token. An end can only become earlier.
func (k Known) With(l Known) Known {
	switch {
	case k.End == l.End:
		k.Before = min(k.Before, l.Before)
	case l.End != 0 && (k.End == 0 || l.End < k.End):
		k.End, k.Before = l.End, l.Before
	}
	for _, n := range l.Networks {
		k.AddNetwork(n)
	}
	return k
}

// KnownKey returns the key of what is known of a token.
func KnownKey(id keys.ID) []byte { return Key('k', id[:]) }

// Value is the record's bytes.
func (k Known) Value() ([]byte, error) { return json.Marshal(k) }

// ParseKnown decodes the output of [Known.Value].
func ParseKnown(b []byte) (k Known, err error) {
	if err := json.Unmarshal(b, &k); err != nil {
		return k, fmt.Errorf("%w: what is known of a token: %w", disk.ErrDamaged, err)
	}
	return k, nil
}

// NetworkOf returns the network of an address: a site is a /24 of IPv4, or a /48 of IPv6
// (RFC 6177).
func NetworkOf(a netip.Addr) (n netip.Prefix) {
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	n, _ = a.Prefix(bits)
	return n
}

// Sighting is a use of a token in a network where it was never used before. It waits in
// the index until it is told.
type Sighting struct {
	Token   keys.ID        `json:"-"`
	Time    int64          `json:"time"` // ms
	Address netip.Addr     `json:"address"`
	Agent   string         `json:"agent,omitempty"`
	Before  []netip.Prefix `json:"before,omitempty"` // in the first sighting of the token: the networks where it was used earlier
}

// Key returns the key of the sighting. There is one of each network.
func (s Sighting) Key() []byte { return append(SightingsOf(s.Token), NetworkOf(s.Address).String()...) }

// Value is the record's bytes.
func (s Sighting) Value() ([]byte, error) { return json.Marshal(s) }

// ParseSighting decodes the output of [Sighting.Value].
func ParseSighting(key, b []byte) (s Sighting, err error) {
	if len(key) < 1+keys.IDSize {
		return s, fmt.Errorf("%w: a sighting has an unknown key", disk.ErrDamaged)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%w: a sighting: %w", disk.ErrDamaged, err)
	}
	s.Token = keys.ID(key[1:])
	return s, nil
}

// SightingsOf returns the prefix of the keys of all sightings of a token.
func SightingsOf(id keys.ID) []byte { return Key('c', id[:]) }

// Sightings returns the uses of a token in networks where it was never used before,
// judged by the addresses before, and its usage after. The first network of a token is not
// among them. known returns what is known of the token, and whether another sighting of it
// waits.
func Sightings(id keys.ID, before []Seen, after *Usage, known func() (k Known, waits bool, err error)) (list []Sighting, err error) {
	var earlier []netip.Prefix
	for _, v := range before {
		earlier = append(earlier, NetworkOf(v.Address))
	}
	if len(earlier) == 0 && after.First.IsValid() {
		earlier = append(earlier, NetworkOf(after.First))
	}
	var k *Known
	var waits bool
	for _, v := range slices.Backward(after.Seen) {
		n := NetworkOf(v.Address)
		same := func(s Sighting) bool { return NetworkOf(s.Address) == n }
		if slices.Contains(earlier, n) || slices.ContainsFunc(list, same) {
			continue
		}
		if k == nil {
			one, w, err := known()
			if err != nil {
				return nil, err
			}
			k, waits = &one, w
		}
		if k.HasNetwork(n) {
			continue
		}
		s := Sighting{Token: id, Time: v.Time, Address: v.Address, Agent: v.Agent}
		if len(k.Networks) == 0 && !waits && len(list) == 0 {
			s.Before = earlier // only the first sighting of a token has its own networks
		}
		list = append(list, s)
	}
	return list, nil
}
