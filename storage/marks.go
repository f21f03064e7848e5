package storage

import (
	"encoding/binary"

	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// marks say how far Badger is, and where in the journal it was some while ago.
//
// Badger keeps its newest data, at most four memory tables of it, in a log
// that it does not sync and of which it drops silently whatever follows a
// damaged byte, possibly from the middle. A kill leaves the log whole; after
// the power has gone nothing says how much of it is left. Then the records that
// may have been only there are brought in again from the journal; putting what
// is put already does no harm. That it was enough is not taken for granted: the
// counts tell.
type marks struct {
	at   journal.Position  // up to which Badger has all records; without a hash: as format 1 wrote it
	size uint64            // bytes of operations since the last step
	past [pastMarks]uint64 // the sequences at the steps before, the newest first
}

const (
	pastMarks = 8
	markStep  = 5 << 20 // bytes of operations; times pastMarks-1 it exceeds the memory tables
)

// mark notes that operations are about to be put into Badger.
func (s *Store) mark(ops []record.Op) {
	m := &s.marks
	for _, o := range ops {
		m.size += uint64(len(o.Key) + len(o.Value))
	}
	if m.size >= markStep {
		copy(m.past[1:], m.past[:])
		m.past[0], m.size = m.at.Sequence, 0
	}
}

// marksForm begins the marks. Format 1 began with the first byte of a sequence,
// which is 0, and had no hash.
const marksForm = 2

func (m marks) value() []byte {
	b := m.at.Append([]byte{marksForm})
	b = binary.BigEndian.AppendUint64(b, m.size)
	for _, p := range m.past {
		b = binary.BigEndian.AppendUint64(b, p)
	}
	return b
}

// parseMarks reads what value wrote, and returns what follows.
func parseMarks(b []byte) (m marks, rest []byte, ok bool) {
	c := record.Cutter{Rest: b}
	if len(b) > 0 && b[0] == marksForm {
		c.Bytes(1)
		m.at, _ = journal.DecodePosition(c.Bytes(journal.PositionSize))
	} else {
		m.at.Sequence = binary.BigEndian.Uint64(c.Bytes(8))
	}
	m.size = binary.BigEndian.Uint64(c.Bytes(8))
	for i := range m.past {
		m.past[i] = binary.BigEndian.Uint64(c.Bytes(8))
	}
	return m, c.Rest, !c.Failed
}

// former reports whether format 1 wrote them.
func (m marks) former() bool { return m.at.Hash == journal.Position{}.Hash }

// settled is a sequence up to which Badger has put everything into tables,
// which it syncs and whose checksums it keeps.
func (m marks) settled() uint64 { return m.past[pastMarks-1] }
