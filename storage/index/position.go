package index

import (
	"encoding/binary"

	"gatehouse/storage/journal"
)

// place says how far Badger is, and where in the log it was some while ago.
//
// Badger keeps its newest data, at most four memory tables of it, in a log that it does
// not sync and in which it silently drops everything after a damaged byte, possibly from
// the middle on. A kill leaves that log whole; after a power failure nothing says how
// much of it is left. Then the records that may have been only in that log are brought in
// again from the journal. Putting a record twice does no harm. Afterwards the counts show
// whether that was enough.
//
// The marks can't be dropped in favor of filling the index again after a power failure.
// The log does not record last uses, sessions and recent files. An index that is filled
// again has uses and files as of the last checkpoint, and no sessions, so lastUsed would
// go back by up to a day.
type place struct {
	at    journal.Position // Badger has all records up to here
	size  uint64           // bytes of operations since the last mark
	marks [marks]uint64    // earlier sequences, the newest first
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

// settled returns a sequence up to which Badger has put everything into tables.
// Badger syncs tables and keeps their checksums.
func (p *place) settled() uint64 { return p.marks[marks-1] }

// placeForm begins the encoding.
const placeForm = 2

const placeSize = 8 + 8*marks // the bytes after the position

func (p *place) value() []byte {
	b := p.at.Append([]byte{placeForm})
	b = binary.BigEndian.AppendUint64(b, p.size)
	for _, m := range p.marks {
		b = binary.BigEndian.AppendUint64(b, m)
	}
	return b
}

// parsePlace parses the output of value, and returns the rest.
func parsePlace(b []byte) (p place, rest []byte, ok bool) {
	if len(b) < 1+journal.PositionSize+placeSize || b[0] != placeForm {
		return p, nil, false
	}
	p.at, _ = journal.DecodePosition(b[1:][:journal.PositionSize])
	b = b[1+journal.PositionSize:]
	p.size, b = binary.BigEndian.Uint64(b), b[8:]
	for i := range p.marks {
		p.marks[i], b = binary.BigEndian.Uint64(b), b[8:]
	}
	return p, b, true
}

// Position returns the position up to which the index has all records of the log.
func (x *Index) Position() journal.Position { return x.place.at }
