package index

import (
	"encoding/binary"

	"gatehouse/storage/journal"
)

// place says how far Badger is, and where in the log it was some while ago.
//
// Badger keeps its newest data, at most four memory tables of it, in a log that it does
// not sync and of which it drops silently whatever follows a damaged byte, possibly from
// the middle. A kill leaves that log whole; after a power failure nothing says how much of
// it is left. Then the records that may have been only there are brought in again from
// the journal; putting what is put already does no harm. That it was enough is not taken
// for granted: the counts tell.
//
// The marks can't be dropped in favor of filling the index again after a power failure.
// The log does not record last uses, sessions and recent files. An index that is filled
// again has uses and files as of the last checkpoint, and no sessions, so lastUsed would
// go back by up to a day.
type place struct {
	at    journal.Position // up to which Badger has all records; without a hash: as format 1 wrote it
	size  uint64           // bytes of operations since the last mark
	marks [marks]uint64    // the sequences where it was, the newest first
}

const (
	marks    = 8
	markStep = 5 << 20 // bytes of operations; times marks-1 it exceeds the memory tables
)

// pass notes that operations are about to be put into Badger.
func (p *place) pass(bytes uint64) {
	if p.size += bytes; p.size >= markStep {
		copy(p.marks[1:], p.marks[:])
		p.marks[0], p.size = p.at.Sequence, 0
	}
}

// settle notes that Badger has everything in its tables.
func (p *place) settle() {
	for i := range p.marks {
		p.marks[i] = p.at.Sequence
	}
	p.size = 0
}

// settled is a sequence up to which Badger has put everything into tables, which it
// syncs and whose checksums it keeps.
func (p *place) settled() uint64 { return p.marks[marks-1] }

// placeForm begins the encoding. Format 1 began with the first byte of a sequence, which
// is 0, and had no hash.
const placeForm = 2

const placeSize = 8 + 8*marks // what follows the position

func (p *place) value() []byte {
	b := p.at.Append([]byte{placeForm})
	b = binary.BigEndian.AppendUint64(b, p.size)
	for _, m := range p.marks {
		b = binary.BigEndian.AppendUint64(b, m)
	}
	return b
}

// parsePlace reads what value wrote, and returns what follows.
func parsePlace(b []byte) (p place, rest []byte, ok bool) {
	switch {
	case len(b) > 0 && b[0] == placeForm:
		if len(b) < 1+journal.PositionSize+placeSize {
			return p, nil, false
		}
		p.at, _ = journal.DecodePosition(b[1:][:journal.PositionSize])
		b = b[1+journal.PositionSize:]
	case len(b) < 8+placeSize:
		return p, nil, false
	default:
		p.at.Sequence, b = binary.BigEndian.Uint64(b), b[8:]
	}
	p.size, b = binary.BigEndian.Uint64(b), b[8:]
	for i := range p.marks {
		p.marks[i], b = binary.BigEndian.Uint64(b), b[8:]
	}
	return p, b, true
}

// Position is up to where the index has all records of the log. Without a hash, which
// Hashed reports, format 1 wrote it.
func (x *Index) Position() journal.Position { return x.place.at }

// Hashed reports whether the position names its record by its hash.
func (x *Index) Hashed() bool { return x.place.at.Hash != journal.Position{}.Hash }
