package uses

import (
	"encoding/binary"
	"fmt"
	"slices"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// A block says when and from where tokens were used last, and how often on that
// day since their usage was written to the index:
//
//	slice 1 | run 8 | origins: how many 2, then address and agent of each |
//	of each token: id 14 | last use 8 | origin 2 (0: none) | uses, as uvarint
//
// The count is a total, not a difference: if two blocks of one run name the
// same token and day, the larger count is right. So reading a block twice
// does no harm.
type block struct {
	slice   byte
	run     uint64
	origins []record.Origin
	number  map[record.Origin]uint16
	tokens  []byte
}

// use is what a block says about a token.
type use struct {
	id     keys.ID
	used   record.LastUse
	uses   int64
	origin uint16
}

// Origin, Use and Usage implement [table.UseWriter].
func (b *block) Origin(o record.Origin) uint16 {
	if !o.Address.IsValid() {
		return 0
	}
	n, ok := b.number[o]
	if !ok && len(b.origins) < 1<<16-1 {
		if b.number == nil {
			b.number = make(map[record.Origin]uint16)
		}
		b.origins = append(b.origins, o)
		n = uint16(len(b.origins))
		b.number[o] = n
	}
	return n
}

func (b *block) Use(id keys.ID, used record.LastUse, uses int64, origin uint16) {
	b.tokens = append(b.tokens, id[:]...)
	b.tokens = binary.BigEndian.AppendUint64(b.tokens, uint64(used))
	b.tokens = binary.BigEndian.AppendUint16(b.tokens, origin)
	b.tokens = binary.AppendUvarint(b.tokens, uint64(uses))
}

func (b *block) Usage(id keys.ID, used record.LastUse, u *record.Usage) {
	b.Use(id, used, 0, 0)
	for _, d := range u.PerDay {
		b.Use(id, min(used, record.UsedAt(int64(d.Day)*record.MsOfDay)), d.N, 0)
	}
	if n := len(u.Seen); n > 0 && u.First.IsValid() && u.First != u.Seen[n-1].Address {
		b.Use(id, record.UsedAt(u.Seen[n-1].Time), 0, b.Origin(record.Origin{Address: u.First}))
	}
	for _, v := range slices.Backward(u.Seen) {
		b.Use(id, record.UsedAt(v.Time), 0, b.Origin(v.Origin))
	}
}

func (b *block) payload() []byte {
	head := binary.BigEndian.AppendUint64([]byte{b.slice}, b.run)
	head = binary.BigEndian.AppendUint16(head, uint16(len(b.origins)))
	for _, o := range b.origins {
		head = o.AppendTo(head)
	}
	return append(head, b.tokens...)
}

// eachUse reads a block if it belongs to a slice, or any block if slice is
// negative.
func eachUse(payload []byte, slice int, fn func(run uint64, u use, from record.Origin)) error {
	c := record.Cutter{Rest: payload}
	if s := c.Bytes(1)[0]; slice >= 0 && int(s) != slice {
		return nil
	}
	run := binary.BigEndian.Uint64(c.Bytes(8))
	origins := []record.Origin{{}}
	for n := binary.BigEndian.Uint16(c.Bytes(2)); n > 0 && !c.Failed; n-- {
		origins = append(origins, c.Origin())
	}
	for len(c.Rest) > 0 {
		u := use{id: keys.ID(c.Bytes(keys.IDSize)), used: record.LastUse(binary.BigEndian.Uint64(c.Bytes(8))), origin: binary.BigEndian.Uint16(c.Bytes(2))}
		u.uses = int64(c.Number())
		if c.Failed || int(u.origin) >= len(origins) {
			return fmt.Errorf("%w: a block of the log of uses has an unknown form", disk.ErrDamaged)
		}
		fn(run, u, origins[u.origin])
	}
	return nil
}
