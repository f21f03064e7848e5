package order

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"strings"
	"unsafe"

	"gatehouse/storage/record"
)

// mostSame is how many different texts, and how many different limits, are remembered in
// order to share them.
const mostSame = 64 << 10

// texts keeps texts in blocks, which the collector does not walk. A text has a number, so
// that a search asks about each text once.
type texts struct {
	blocks [][]byte
	starts []uint32          // by number: the offset in the blocks
	same   map[string]uint32 // the numbers of some of them
}

const textBlock = 1 << 16

// add returns the number of a text.
func (l *texts) add(s string) uint32 {
	if n, ok := l.same[s]; ok {
		return n
	}
	s = s[:min(len(s), textBlock/2)]
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last])+2+len(s) > textBlock {
		l.blocks = append(l.blocks, make([]byte, 0, textBlock))
		last++
	}
	b := l.blocks[last]
	n := uint32(len(l.starts))
	l.starts = append(l.starts, uint32(last*textBlock+len(b)))
	l.blocks[last] = append(append(b, byte(len(s)>>8), byte(len(s))), s...)
	if l.same == nil {
		l.same = make(map[string]uint32)
	}
	if len(l.same) < mostSame {
		l.same[l.at(n)] = n
	}
	return n
}

// at returns the text with a number. It does not copy: the content of a block never
// changes.
func (l *texts) at(number uint32) string {
	offset := l.starts[number]
	b := l.blocks[offset/textBlock][offset%textBlock:]
	return unsafe.String(unsafe.SliceData(b[2:]), int(b[0])<<8|int(b[1]))
}

// limits keeps the scopes and address lists of tokens. Most tokens share them.
type limits struct {
	list []limit // the first one stands for no limit
	same map[string]uint32
}

type limit struct {
	scopes    []string
	addresses []netip.Prefix
}

// add returns the number of a token's limits.
func (l *limits) add(t limit) uint32 {
	if l.same == nil {
		l.list, l.same = make([]limit, 1), map[string]uint32{}
	}
	if len(t.scopes) == 0 && len(t.addresses) == 0 {
		return 0
	}
	var key strings.Builder
	for _, s := range t.scopes {
		key.WriteString(s + "\n") // no scope has a newline
	}
	for _, p := range t.addresses {
		key.WriteString(" " + p.String())
	}
	n, ok := l.same[key.String()]
	if !ok {
		n = uint32(len(l.list))
		l.list = append(l.list, t)
		if len(l.same) < mostSame {
			l.same[key.String()] = n
		}
	}
	return n
}

// appendSeen writes addresses: how many, and each after its length.
func appendSeen(b []byte, list []record.Seen) []byte {
	b = append(b, byte(len(list)))
	for _, v := range list {
		b = appendAddress(b, v.Address)
	}
	return b
}

func appendAddress(b []byte, a netip.Addr) []byte {
	s := a.AsSlice()
	return append(append(b, byte(len(s))), s...)
}

func seenLen(b []byte) int {
	n := 1
	for range b[0] {
		n += 1 + int(b[n])
	}
	return n
}

// network is a netip.Prefix in a form that is quick to compare. IPv4 addresses are in it as
// IPv6 shows them: ::ffff:192.0.2.1.
type network struct {
	v4         bool
	mask, want [2]uint64
}

func networkOf(p netip.Prefix) network {
	bits, a := p.Bits(), p.Addr()
	if a.Is4() {
		bits += 96
	}
	b := a.As16()
	v := network{v4: a.Is4(), mask: [2]uint64{^(math.MaxUint64 >> min(bits, 64)), ^(math.MaxUint64 >> max(bits-64, 0))}}
	v.want = [2]uint64{binary.BigEndian.Uint64(b[:8]) & v.mask[0], binary.BigEndian.Uint64(b[8:]) & v.mask[1]}
	return v
}

const mapped = 0xffff << 32 // how an IPv4 address begins as an IPv6 one, with the first half 0

// seenIn reports whether one of the addresses that appendSeen wrote is in the network.
func (v *network) seenIn(b []byte) bool {
	many, b := b[0], b[1:]
	for range many {
		var hi, lo uint64
		switch b[0] {
		case 4:
			lo = mapped | uint64(binary.BigEndian.Uint32(b[1:5]))
		case 16:
			hi, lo = binary.BigEndian.Uint64(b[1:9]), binary.BigEndian.Uint64(b[9:17])
		}
		if hi&v.mask[0] == v.want[0] && lo&v.mask[1] == v.want[1] && v.v4 == (hi == 0 && lo&^math.MaxUint32 == mapped) && b[0] != 0 {
			return true
		}
		b = b[1+b[0]:]
	}
	return false
}

// seenAt reports whether appendSeen wrote an address.
func seenAt(b []byte, a netip.Addr) bool {
	many, b := b[0], b[1:]
	for range many {
		n := 1 + b[0]
		if bytes.Equal(b[1:n], a.AsSlice()) {
			return true
		}
		b = b[n:]
	}
	return false
}
