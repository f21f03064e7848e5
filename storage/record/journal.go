package record

import (
	"context"

	"gatehouse/storage/journal"
)

// Journal is the journal as the index and the table read it: only the operations.
type Journal struct{ *journal.Journal }

// Ops calls fn with the operations of each record after a sequence or, if the journal begins
// later, of all records.
func (j Journal) Ops(after uint64, fn func(sequence uint64, ops []Op) error) error {
	after = max(after, j.FirstSequence()-1)
	return j.Replay(context.Background(), after, func(r journal.Record) error {
		_, b, err := CutEntry(r)
		if err != nil {
			return err
		}
		ops, err := AllOps(b)
		if err != nil {
			return err
		}
		return fn(r.Sequence, ops)
	})
}
