package journal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	sector  = 512
	stamp   = 16
	body    = sector - stamp
	preface = 4 + 4 + sha256.Size + sha256.Size // of a batch, before its records
	lead    = 4 + 8 + 2                         // of a record, before its actor

	magic   = "GATEJRNL"
	version = 1

	// mostBatch bounds how much one write may leave unsynced, and how much a
	// reader allocates for a length that it finds on the disk.
	mostBatch   = 1 << 20
	mostSectors = (preface + mostBatch + body - 1) / body
	mostActor   = 1<<16 - 1
)

type link = [sha256.Size]byte // a value of the chain: the MAC of a batch

// A Record is one change as the journal keeps it.
type Record struct {
	Sequence uint64
	Time     int64 // milliseconds since 1970
	Actor    string
	Payload  []byte
}

// An Entry is a change to be appended.
type Entry struct {
	Time    int64 // milliseconds since 1970; 0 means now
	Actor   string
	Payload []byte
}

// Size is what the entry counts towards MaxBatch, in bytes.
func (e Entry) Size() int { return lead + len(e.Actor) + len(e.Payload) }

// keyed computes MACs with the key. Each goroutine needs its own: a hash can't
// be shared.
type keyed struct{ hash.Hash }

func newKeyed(key [32]byte) keyed { return keyed{hmac.New(sha256.New, key[:])} }

// sum separates its uses by a label of constant length, so that nobody can pass
// off a header as a batch.
func (k keyed) sum(label string, parts ...[]byte) (mac link) {
	k.Reset()
	k.Write([]byte(label))
	for _, part := range parts {
		k.Write(part)
	}
	k.Hash.Sum(mac[:0])
	return mac
}

const (
	labelHeader = "gatehouse journal header\x00"
	labelBatch  = "gatehouse journal batch\x00\x00"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal stamps a sector after its body was written.
func seal(b []byte, count, place int, first uint64) {
	binary.LittleEndian.PutUint16(b[4:], uint16(count))
	binary.LittleEndian.PutUint16(b[6:], uint16(place))
	binary.LittleEndian.PutUint64(b[8:], first)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:sector], castagnoli))
}

// mark is the content of a sector's stamp.
type mark struct {
	count, place int
	first        uint64
}

// examine reads a stamp; whole is false if the sector has changed since it was
// sealed.
func examine(b []byte) (m mark, whole bool) {
	m.count = int(binary.LittleEndian.Uint16(b[4:]))
	m.place = int(binary.LittleEndian.Uint16(b[6:]))
	m.first = binary.LittleEndian.Uint64(b[8:])
	return m, binary.LittleEndian.Uint32(b) == crc32.Checksum(b[4:sector], castagnoli)
}

var nothing [64 << 10]byte

func blank(b []byte) bool {
	for len(b) > len(nothing) {
		if !bytes.Equal(b[:len(nothing)], nothing[:]) {
			return false
		}
		b = b[len(nothing):]
	}
	return bytes.Equal(b, nothing[:len(b)])
}

// A header opens a segment.
type header struct {
	number  uint64
	size    int64
	started int64 // ms
	first   uint64
	chain   link
}

const headerPlain = len(magic) + 4 + 8 + 8 + 8 + sha256.Size

func (h header) encode(b []byte, k keyed) {
	clear(b[:sector])
	p := append(b[stamp:stamp], magic...)
	p = binary.LittleEndian.AppendUint32(p, version)
	p = binary.LittleEndian.AppendUint64(p, h.number)
	p = binary.LittleEndian.AppendUint64(p, uint64(h.size))
	p = binary.LittleEndian.AppendUint64(p, uint64(h.started))
	p = append(p, h.chain[:]...)
	mac := h.mac(p, k)
	copy(b[stamp+headerPlain:], mac[:])
	seal(b, 0, 0, h.first)
}

// mac also covers the sequence, which is in the stamp.
func (h header) mac(plain []byte, k keyed) link {
	var first [8]byte
	binary.LittleEndian.PutUint64(first[:], h.first)
	return k.sum(labelHeader, first[:], plain)
}

// decodeHeader returns a reason if the sector is not a valid header. It returns
// an error if the sector is a header that belongs to another key or another
// version of the program.
func decodeHeader(b []byte, k keyed) (h header, reason string, err error) {
	m, whole := examine(b)
	if !whole {
		return h, "the segment's header fails its checksum", nil
	}
	p := b[stamp:]
	if m.count != 0 || string(p[:len(magic)]) != magic {
		return h, "this is not the header of a segment", nil
	}
	p = p[len(magic):]
	if v := binary.LittleEndian.Uint32(p); v != version {
		return h, "", fmt.Errorf("format %d, not %d: %w", v, version, ErrVersion)
	}
	h.number = binary.LittleEndian.Uint64(p[4:])
	h.size = int64(binary.LittleEndian.Uint64(p[12:]))
	h.started = int64(binary.LittleEndian.Uint64(p[20:]))
	h.first = m.first
	copy(h.chain[:], p[28:])
	mac := h.mac(b[stamp:stamp+headerPlain], k)
	if !hmac.Equal(mac[:], b[stamp+headerPlain:stamp+headerPlain+len(mac)]) {
		return h, "", ErrKey
	}
	if !blank(b[stamp+headerPlain+len(mac) : sector]) {
		return h, "the header's padding is not blank", nil
	}
	return h, "", nil
}

// sectorsFor returns the length in sectors of a batch; records is the length of its
// records in bytes.
func sectorsFor(records int) int { return (preface + records + body - 1) / body }

// An encoder keeps its buffers between appends.
type encoder struct {
	keyed
	plain []byte // preface and records
	out   []byte // sectors, with room for a header before them
}

// batch encodes entries and returns the sectors, and the chain's new value.
// One sector before them is left free for a header in e.out.
func (e *encoder) batch(first uint64, chain link, now int64, entries []Entry) ([]byte, link) {
	p := append(e.plain[:0], make([]byte, preface)...)
	for _, entry := range entries {
		p = appendRecord(p, now, entry)
	}
	e.plain = p
	binary.LittleEndian.PutUint32(p, uint32(len(p)-preface))
	binary.LittleEndian.PutUint32(p[4:], uint32(len(entries)))
	copy(p[8:], chain[:])
	mac := e.batchMAC(first, p)
	copy(p[8+len(chain):], mac[:])

	count := sectorsFor(len(p) - preface)
	need := (1 + count) * sector
	if cap(e.out) < need {
		e.out = make([]byte, need)
	}
	e.out = e.out[:need]
	for i := range count {
		b := e.out[(1+i)*sector:][:sector]
		n := copy(b[stamp:], p)
		clear(b[stamp+n:])
		p = p[n:]
		seal(b, count, i, first)
	}
	return e.out[sector:], mac
}

func (k keyed) batchMAC(first uint64, plain []byte) link {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], first)
	return k.sum(labelBatch, b[:], plain[:8+sha256.Size], plain[preface:])
}

func appendRecord(p []byte, now int64, e Entry) []byte {
	at := e.Time
	if at == 0 {
		at = now
	}
	p = binary.LittleEndian.AppendUint32(p, uint32(e.Size()-4))
	p = binary.LittleEndian.AppendUint64(p, uint64(at))
	p = binary.LittleEndian.AppendUint16(p, uint16(len(e.Actor)))
	p = append(p, e.Actor...)
	return append(p, e.Payload...)
}

// records splits the content of a batch; it returns false if that is not
// exactly count records.
func records(p []byte, first uint64, count int) ([]Record, bool) {
	if count < 1 || count > len(p)/lead {
		return nil, false
	}
	list := make([]Record, 0, count)
	for i := range count {
		if len(p) < lead {
			return nil, false
		}
		n := uint64(binary.LittleEndian.Uint32(p))
		actor := int(binary.LittleEndian.Uint16(p[12:]))
		if n < lead-4 || n > uint64(len(p)-4) || actor > int(n)-(lead-4) {
			return nil, false
		}
		end := 4 + int(n)
		list = append(list, Record{
			Sequence: first + uint64(i),
			Time:     int64(binary.LittleEndian.Uint64(p[4:])),
			Actor:    string(p[lead : lead+actor]),
			Payload:  p[lead+actor : end : end],
		})
		p = p[end:]
	}
	return list, len(p) == 0
}

const suffix = ".seg"

func segmentName(number uint64) string { return fmt.Sprintf("%010d%s", number, suffix) }

// segmentNumber is strict, so that no two names mean the same segment.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && segmentName(n) == name
}
