package record

import (
	"context"

	"gatehouse/storage/journal"
)

// Log is the log as the index and the table read it: only the operations.
type Log struct{ *journal.Journal }

// Ops calls fn with the operations of each record after a sequence or, if the log begins
// later, of all records.
func (l Log) Ops(after uint64, fn func(sequence uint64, ops []Op) error) error {
	after = max(after, l.FirstSequence()-1)
	return l.Replay(context.Background(), after, func(jr journal.Record) error {
		_, b, err := CutEntry(jr)
		if err != nil {
			return err
		}
		ops, err := AllOps(b)
		if err != nil {
			return err
		}
		return fn(jr.Sequence, ops)
	})
}
