package order

import (
	"bytes"
	"encoding/hex"
	"strings"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// Sieve is a TokenFilter prepared for the table.
type Sieve struct {
	TokenFilter
	prefix  hexPrefix
	id      hexPrefix // of TokenFilter.ID
	numbers []uint32  // of the owners with a uid that has the prefix
	owners  bitmap    // the same
	number  uint32    // of the owner
}

// Sieve prepares a filter: it finds the users with uids that have its prefix.
func (v *Views) Sieve(f TokenFilter) (Sieve, error) {
	s := Sieve{TokenFilter: f, id: parseHexPrefix(f.ID)}
	if f.Owner != 0 {
		_, s.number, _ = v.table.Owners.Find(f.Owner)
	}
	if f.Prefix == "" {
		return s, nil
	}
	s.prefix = parseHexPrefix(f.Prefix)
	if len(s.prefix.whole) > 0 && !v.live(s.prefix.whole[0]) {
		s.prefix = hexPrefix{none: true} // an id begins with the number of its key
	}
	var err error
	s.numbers, err = v.withPrefix(f.Prefix)
	for _, n := range s.numbers {
		s.owners.add(n)
	}
	return s, err
}

// Takes reports whether the filter takes a token, regardless of its place.
func (v *Sieve) Takes(id keys.ID, owner uint32, used record.LastUse) bool {
	switch {
	case v.NeverUsed && used&1 != 0:
	case v.UsedSince != 0 && (used&1 == 0 || int64(used>>1) < v.UsedSince):
	case v.IdleSince != 0 && int64(used>>1) > v.IdleSince:
	case v.ID != "" && !v.id.of(id):
	case v.Prefix != "" && !v.owners.has(owner) && !v.prefix.of(id):
	default:
		return true
	}
	return false
}

// in reports whether the filter may take tokens with this first random byte.
func (v *Sieve) in(first byte) bool {
	return v.Prefix == "" || len(v.numbers) > 0 || len(v.prefix.whole) < 2 || v.prefix.whole[1] == first
}

// mostFew is the largest number of tokens that counts as few, and mostHolders of users.
const (
	mostFew     = 2000
	mostHolders = 200
)

// candidate is a token that the filter may take. created is in ms; 0: not known.
type candidate struct {
	id      keys.ID
	created int64
}

// few returns all tokens that the filter can take, if they are few, or if the index lists
// them in any case. Otherwise ok is false.
func (v *Views) few(s *Sieve) (list []candidate, ok bool, err error) {
	most := mostFew
	held := func(of record.UserID) error {
		return v.index.Held(of, func(id keys.ID, created int64) bool {
			list = append(list, candidate{id, created})
			return len(list) <= most
		})
	}
	switch {
	case s.Owner != 0:
		if s.Match == nil {
			most = 1 << 62 // the index has the times of creation
		}
		err = held(s.Owner)
	case s.Prefix == "" || s.Revoked && len(s.numbers) > 0 || len(s.numbers) > mostHolders || !s.prefix.none && len(s.prefix.whole) < 2:
		return nil, false, nil
	default:
		if s.Revoked && !s.prefix.none {
			err = v.index.KeysIn(s.prefix.whole[1], func(id keys.ID) {
				if s.prefix.of(id) {
					list = append(list, candidate{id: id})
				}
			})
		} else if !s.prefix.none { // in the shard of the id
			v.table.EachIn(s.prefix.whole[1], func(e table.Entry) {
				if s.prefix.of(e.ID) && !s.owners.has(e.Owner) {
					list = append(list, candidate{id: e.ID})
				}
			})
		}
		for _, n := range s.numbers {
			if err == nil && len(list) <= most {
				err = held(v.table.Owners.ID(n))
			}
		}
	}
	return list, len(list) <= most, err
}

// hexPrefix is the beginning of an id, with a precision of half a byte.
type hexPrefix struct {
	none  bool // no id begins like this
	whole []byte
	half  int // the upper half of the next byte; -1: any
}

func parseHexPrefix(text string) hexPrefix {
	text = strings.ToLower(text)
	p := hexPrefix{half: -1}
	odd := len(text) % 2
	var err error
	if p.whole, err = hex.DecodeString(text[:len(text)-odd]); err != nil || len(text) > 2*keys.IDSize {
		return hexPrefix{none: true}
	}
	if odd == 1 {
		last, err := hex.DecodeString(text[len(text)-1:] + "0")
		if err != nil {
			return hexPrefix{none: true}
		}
		p.half = int(last[0] >> 4)
	}
	return p
}

func (p *hexPrefix) of(id keys.ID) bool {
	return !p.none && bytes.HasPrefix(id[:], p.whole) && (p.half < 0 || int(id[len(p.whole)]>>4) == p.half)
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) add(n uint32) {
	for int(n/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n uint32) bool {
	return int(n/64) < len(b) && b[n/64]&(1<<(n%64)) != 0
}
