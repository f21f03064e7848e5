package index

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"

	"gatehouse/storage/disk"
	"gatehouse/storage/record"
)

// stream puts a checkpoint, which is in the order of its keys, straight into the
// tables of an empty index. With transactions the same records would go through
// Badger's log and be sorted and merged several times.
type stream struct {
	out  *badger.StreamWriter
	buf  *z.Buffer
	last []byte // the previous key
	seen [256]bool
}

// streamBuffer is how many bytes are handed over at once.
const streamBuffer = 4 << 20

// stream puts the operations of the source, and adopts the counts in it.
func (x *Index) stream(source func(put func(record.Op) error) (uint64, error)) (sequence uint64, err error) {
	out := x.db.NewStreamWriter()
	if err := out.Prepare(); err != nil {
		out.Cancel()
		return 0, err
	}
	w := &stream{out: out, buf: z.NewBuffer(streamBuffer, "checkpoint")}
	sequence, err = source(func(o record.Op) error { return errors.Join(w.put(o), x.take(o)) })
	return sequence, w.end(err)
}

// put takes the next operation. Badger panics at keys that are out of order, so put
// checks them: each kind is a stream, and within it the keys ascend.
func (w *stream) put(o record.Op) error {
	if len(o.Key) == 0 || o.Value == nil {
		return fmt.Errorf("%w: a checkpoint has no deletions", disk.ErrDamaged)
	}
	kind := o.Key[0]
	if len(w.last) == 0 || w.last[0] != kind {
		if err := w.nextKind(kind); err != nil {
			return err
		}
	} else if bytes.Compare(w.last, o.Key) >= 0 {
		return fmt.Errorf("%w: the keys of the checkpoint are out of order", disk.ErrDamaged)
	}
	w.last = append(w.last[:0], o.Key...)
	badger.KVToBuffer(&pb.KV{Key: o.Key, Value: o.Value, Version: 1, StreamId: uint32(kind)}, w.buf)
	if w.buf.LenNoPadding() < streamBuffer {
		return nil
	}
	return w.hand()
}

// nextKind ends the stream of the previous kind. No later key may have that
// kind.
func (w *stream) nextKind(kind byte) error {
	if len(w.last) > 0 {
		badger.KVToBuffer(&pb.KV{StreamId: uint32(w.last[0]), StreamDone: true}, w.buf)
	}
	if err := w.hand(); err != nil {
		return err
	}
	if w.seen[kind] {
		return fmt.Errorf("%w: the keys of the checkpoint are out of order", disk.ErrDamaged)
	}
	w.seen[kind] = true
	return nil
}

func (w *stream) hand() error {
	err := w.out.Write(w.buf)
	w.buf.Reset()
	return err
}

// end puts in the rest, or cancels everything after an error.
func (w *stream) end(err error) error {
	if err == nil {
		err = w.hand()
	}
	if err == nil {
		err = w.out.Flush()
	} else {
		w.out.Cancel()
	}
	return errors.Join(err, w.buf.Release())
}
