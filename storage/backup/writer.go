package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Writer writes a snapshot. Call [Writer.Op] for each operation, then [Writer.End],
// then [Writer.Journal] for a backup, and [Writer.Flush].
type Writer struct {
	w   *bufio.Writer
	sum [sha256.Size]byte
	buf []byte // operations that are not written yet
	n   int64  // operations
}

// NewWriter writes the first line, the manifest, and the sealed keyring.
func NewWriter(out io.Writer, m Manifest, keyring []byte) (*Writer, error) {
	w := &Writer{w: bufio.NewWriterSize(out, 1<<20)}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if _, err := w.w.WriteString(magic); err != nil {
		return nil, err
	}
	return w, errors.Join(w.chunk(chunkManifest, text), w.chunk(chunkKeyring, keyring))
}

// Op writes an operation.
func (w *Writer) Op(o record.Op) error {
	w.buf = record.AppendOp(w.buf, o)
	w.n++
	if len(w.buf) < chunkSize {
		return nil
	}
	return w.flushOps()
}

func (w *Writer) flushOps() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.chunk(chunkOps, w.buf)
	w.buf = w.buf[:0]
	return err
}

// End writes the end of the snapshot, and authenticates all of it with the key.
func (w *Writer) End(key [32]byte) error {
	if err := w.flushOps(); err != nil {
		return err
	}
	n := binary.BigEndian.AppendUint64(nil, uint64(w.n))
	return w.chunk(chunkEnd, append(n, endMAC(key, w.sum, append([]byte{chunkEnd}, n...))...))
}

// Journal writes a journal. A start does not notice damage in an old segment, and the damage
// must not make further backups impossible. So the backup then has only the records
// after it, and Journal calls skipped with the damage and with the first record in the
// backup. All records after needed must be there. Journal ends when ctx ends, with its
// cause.
func (w *Writer) Journal(ctx context.Context, from *journal.Copy, needed uint64, skipped func(damage error, first uint64)) error {
	var pieces uint64
	var b []byte
	first := from.Segments()
	for at := 0; ; {
		var unwritten error
		ended, err := from.Read(ctx, at, func(p journal.Piece) error {
			pieces++
			b = p.Append(b[:0])
			unwritten = w.chunk(chunkPiece, b)
			return unwritten
		})
		switch {
		case err == nil:
			return w.chunk(chunkLast, binary.BigEndian.AppendUint64(nil, pieces))
		case unwritten != nil:
			return unwritten
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if at = ended + 1; !errors.As(err, new(*journal.CorruptError)) || at >= len(first) || first[at] > needed+1 {
			return disk.NotRead("back up the audit log", err)
		}
		skipped(err, first[at])
		if err := w.chunk(chunkReset, nil); err != nil {
			return err
		}
	}
}

// Flush writes everything that is still in memory.
func (w *Writer) Flush() error { return w.w.Flush() }

func (w *Writer) chunk(kind byte, data []byte) error {
	h := sha256.New()
	h.Write(w.sum[:])
	h.Write([]byte{kind})
	h.Write(data)
	h.Sum(w.sum[:0])
	head := binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))
	head = append(append(head, w.sum[:]...), kind)
	if _, err := w.w.Write(head); err != nil {
		return err
	}
	_, err := w.w.Write(data)
	return err
}
