package storage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dgraph-io/badger/v4"
)

// A snapshot is the whole store but for its journal, its sessions and its key
// file: a backup and a checkpoint are one. It is a first line and chunks:
//
//	length of the payload 4 | SHA-256 of the chunk before's and the payload 32 | payload
//
// so that a flipped bit, a missing end and a chunk in the wrong place all show.
// The payload's first byte is its kind: the manifest, the keyring (sealed, as
// on the disk), operations as in the journal, and the end.
const (
	snapshotMagic = "GATEHOUSE SNAPSHOT 1\n"

	chunkManifest = 'M'
	chunkKeyring  = 'K'
	chunkOps      = 'O'
	chunkEnd      = 'E'

	chunkSize    = 256 << 10
	maxChunkSize = 4 << 20
)

// Manifest says what a snapshot is of.
type Manifest struct {
	Sequence uint64 `json:"sequence"` // of the last journal record that is in it
	Created  int64  `json:"created"`  // ms
	Users    int64  `json:"users"`
	Tokens   int64  `json:"tokens"`
}

// snapshotWriter writes chunks.
type snapshotWriter struct {
	w   io.Writer
	sum [sha256.Size]byte
	buf []byte // the payload at hand
	n   int64  // operations
}

func (w *snapshotWriter) chunk(payload []byte) error {
	w.sum = chain(w.sum, payload)
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	head = append(head, w.sum[:]...)
	if _, err := w.w.Write(head); err != nil {
		return err
	}
	_, err := w.w.Write(payload)
	return err
}

func chain(sum [sha256.Size]byte, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(sum[:])
	h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

func (w *snapshotWriter) op(o op) error {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, chunkOps)
	}
	w.buf = appendOp(w.buf, o)
	w.n++
	if len(w.buf) < chunkSize {
		return nil
	}
	return w.flush()
}

func (w *snapshotWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.chunk(w.buf)
	w.buf = w.buf[:0]
	return err
}

// snapshotKinds are the keys that a snapshot has: all but sessions and
// attempts, which end by themselves.
var snapshotKinds = []byte("uitlnovre")

// Snapshot writes a consistent copy of the store, as of one moment, while
// changes go on.
func (s *Store) Snapshot(ctx context.Context, out io.Writer) (m Manifest, err error) {
	if err := s.flush(ctx); err != nil {
		return m, err
	}
	keyring, err := os.ReadFile(s.path("keyring"))
	if err != nil {
		return m, err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := &snapshotWriter{w: buffered}
	if _, err := io.WriteString(buffered, snapshotMagic); err != nil {
		return m, err
	}
	turn := s.lag.turn.Load()
	err = s.view(func(txn *badger.Txn) error {
		if turn%2 != 0 || turn != s.lag.turn.Load() {
			return ErrNoSpace // the index is behind, or was a moment ago
		}
		marks, want, err := s.applied(txn)
		if err != nil {
			return err
		}
		m = Manifest{Sequence: marks.at.Sequence, Created: s.now(), Users: want.names, Tokens: want.tokens}
		text, err := json.Marshal(m)
		if err == nil {
			err = w.chunk(append([]byte{chunkManifest}, text...))
		}
		if err == nil {
			err = w.chunk(append([]byte{chunkKeyring}, keyring...))
		}
		if err != nil {
			return err
		}
		return s.writeOps(ctx, txn, w, want)
	})
	if err != nil {
		return m, err
	}
	if err := w.chunk(binary.BigEndian.AppendUint64([]byte{chunkEnd}, uint64(w.n))); err != nil {
		return m, err
	}
	return m, buffered.Flush()
}

// writeOps writes what the index holds, if it is what it should hold: a
// snapshot must not make the loss of a record final.
func (s *Store) writeOps(ctx context.Context, txn *badger.Txn, w *snapshotWriter, want counts) error {
	var got counts
	for _, kind := range snapshotKinds {
		for item := range scan(txn, []byte{kind}, nil) {
			if err := ctx.Err(); err != nil {
				return err
			}
			v, err := item.ValueCopy(nil)
			if err != nil {
				return notRead(fmt.Sprintf("read %q", item.Key()), err)
			}
			if sealedKind(kind) {
				if _, err := s.seals.open(item.Key(), v); err != nil {
					return err // damage is not handed on
				}
			}
			if counted(kind) {
				got.enter(s.seals, item.Key(), v, 1)
			}
			if err := w.op(op{key: item.Key(), value: append([]byte{}, v...)}); err != nil {
				return err
			}
		}
	}
	if got != want {
		return fmt.Errorf("%w: the index holds %d records, and should hold %d", ErrDamaged, got.records, want.records)
	}
	if err := w.op(op{key: countsKey, value: s.seals.seal(countsKey, want.value())}); err != nil {
		return err
	}
	return w.flush()
}

func sealedKind(kind byte) bool { return bytes.IndexByte([]byte("utlvre"), kind) >= 0 }

// SnapshotError says where a snapshot does not verify.
type SnapshotError struct {
	Offset int64
	Reason string
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("the snapshot does not verify at byte %d: %s", e.Offset, e.Reason)
}

// snapshotReader reads chunks and checks them.
type snapshotReader struct {
	r      *bufio.Reader
	offset int64
	sum    [sha256.Size]byte
	ops    int64
}

// readSnapshot calls fn with each chunk, and returns nil only for a snapshot
// that is whole.
func readSnapshot(in io.Reader, fn func(kind byte, data []byte) error) error {
	r := &snapshotReader{r: bufio.NewReaderSize(in, 1<<20)}
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r.r, magic); err != nil || string(magic) != snapshotMagic {
		return &SnapshotError{0, "it is no snapshot of a gatehouse that this one can read"}
	}
	r.offset = int64(len(magic))
	for place := 0; ; place++ {
		payload, err := r.chunk()
		if err != nil {
			return err
		}
		kind, data := payload[0], payload[1:]
		if (kind == chunkManifest) != (place == 0) || (kind == chunkKeyring) != (place == 1) {
			return &SnapshotError{r.offset, "a chunk is out of place"}
		}
		if kind == chunkEnd {
			if _, err := r.r.ReadByte(); len(data) != 8 || int64(binary.BigEndian.Uint64(data)) != r.ops || !errors.Is(err, io.EOF) {
				return &SnapshotError{r.offset, "its end does not fit"}
			}
			return nil
		}
		if kind == chunkOps {
			n, err := eachOp(data, func(op) error { return nil })
			if err != nil {
				return &SnapshotError{r.offset, "a chunk has an unknown form"}
			}
			r.ops += n
		}
		if err := fn(kind, data); err != nil {
			return err
		}
		r.offset += int64(4 + sha256.Size + len(payload))
	}
}

func (r *snapshotReader) chunk() ([]byte, error) {
	var head [4 + sha256.Size]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, &SnapshotError{r.offset, "it is cut off"}
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxChunkSize {
		return nil, &SnapshotError{r.offset, "a chunk has an impossible length"}
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r.r, payload); err != nil {
		return nil, &SnapshotError{r.offset, "it is cut off"}
	}
	if r.sum = chain(r.sum, payload); !bytes.Equal(r.sum[:], head[4:]) {
		return nil, &SnapshotError{r.offset, "a checksum is wrong"}
	}
	return payload, nil
}

// CheckSnapshot reads a whole snapshot and returns its manifest, or a
// *SnapshotError.
func CheckSnapshot(in io.Reader) (m Manifest, err error) {
	m, _, err = inspect(in)
	return m, err
}

// inspect also returns the sealed keyring.
func inspect(in io.Reader) (m Manifest, keyring []byte, err error) {
	err = readSnapshot(in, func(kind byte, data []byte) error {
		switch kind {
		case chunkManifest:
			if err := json.Unmarshal(data, &m); err != nil {
				return &SnapshotError{0, "the manifest can't be read"}
			}
		case chunkKeyring:
			keyring = data
		}
		return nil
	})
	return m, keyring, err
}
