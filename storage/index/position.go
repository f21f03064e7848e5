package index

import (
	"encoding/binary"

	"gatehouse/storage/journal"
)

// progress says how far Badger is, and where in the journal it was some while ago.
//
// Badger keeps its newest data, at most four memory tables of it, in a log that it does
// not sync and in which it silently drops everything after a damaged byte, possibly from
// the middle on. A kill leaves that log whole; after a power failure nothing says how
// much of it is left. Then the records that may have been only in that log are brought in
// again from the journal. Putting a record twice does no harm. Afterwards the counts show
// whether that was enough.
//
// The earlier sequences are needed: filling the index again after a power failure is no substitute.
// The journal does not record last uses, sessions and recent files. An index that is filled
// again has uses and files as of the last checkpoint, and no sessions, so lastUsed would
// go back by up to a day.
type progress struct {
	at      journal.Position    // Badger has all records up to here
	size    uint64              // bytes of operations since the newest of earlier
	earlier [earlierKept]uint64 // earlier sequences, the newest first
}

const (
	earlierKept = 8
	earlierStep = 5 << 20 // bytes of operations; times earlierKept-1 it exceeds the memory tables
)

// advance notes that operations are about to be put into Badger.
func (p *progress) advance(bytes uint64) {
	if p.size += bytes; p.size >= earlierStep {
		copy(p.earlier[1:], p.earlier[:])
		p.earlier[0], p.size = p.at.Sequence, 0
	}
}

// settle notes that Badger has everything in its tables.
func (p *progress) settle() {
	for i := range p.earlier {
		p.earlier[i] = p.at.Sequence
	}
	p.size = 0
}

// settled returns a sequence up to which Badger has put everything into tables.
// Badger syncs tables and keeps their checksums.
func (p *progress) settled() uint64 { return p.earlier[earlierKept-1] }

// progressForm begins the encoding.
const progressForm = 2

const progressSize = 8 + 8*earlierKept // the bytes after the position

func (p *progress) value() []byte {
	b := p.at.Append([]byte{progressForm})
	b = binary.BigEndian.AppendUint64(b, p.size)
	for _, m := range p.earlier {
		b = binary.BigEndian.AppendUint64(b, m)
	}
	return b
}

// parseProgress parses the output of value, and returns the rest.
func parseProgress(b []byte) (p progress, rest []byte, ok bool) {
	if len(b) < 1+journal.PositionSize+progressSize || b[0] != progressForm {
		return p, nil, false
	}
	p.at, _ = journal.DecodePosition(b[1:][:journal.PositionSize])
	b = b[1+journal.PositionSize:]
	p.size, b = binary.BigEndian.Uint64(b), b[8:]
	for i := range p.earlier {
		p.earlier[i], b = binary.BigEndian.Uint64(b), b[8:]
	}
	return p, b, true
}

// Position returns the position up to which the index has all records of the journal.
func (x *Index) Position() journal.Position { return x.progress.at }
