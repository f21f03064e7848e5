package storage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// A snapshot is the whole store as of one record of the journal, except for sessions
// and the key file. It is a first line and chunks:
//
//	length of the payload 4 | SHA-256 of the chunk before's and the payload 32 | payload
//
// so that a flipped bit, a missing end and a chunk in the wrong place all show.
// The payload's first byte is its kind: the manifest, the keyring (sealed, as
// on the disk), operations as in the journal, and the end:
//
//	E | number of operations 8 | HMAC of the last chunk's SHA-256 and the number 32
//
// The HMAC says that all chunks belong together, so that the records of an old backup
// can't be put under the manifest of a newer one.
//
// A checkpoint is a snapshot. In a backup the journal follows, as far as it is kept:
// pieces of its files (J), perhaps a note that what came so far does not count (R),
// and their number (Z). The journal authenticates itself, and the manifest says where
// it ends. It may go beyond the record that the snapshot is of.
//
// Version 1 had no HMAC and no journal.
const (
	snapshotMagic  = "GATEHOUSE SNAPSHOT 2\n"
	snapshotMagic1 = "GATEHOUSE SNAPSHOT 1\n"

	chunkManifest = 'M'
	chunkKeyring  = 'K'
	chunkOps      = 'O'
	chunkEnd      = 'E'
	chunkPiece    = 'J'
	chunkReset    = 'R'
	chunkLast     = 'Z'

	chunkSize    = 256 << 10
	maxChunkSize = 4 << 20
)

// Manifest says what a snapshot is of.
type Manifest struct {
	Sequence uint64           `json:"sequence"`          // of the last journal record that is in it
	Position journal.Position `json:"position,omitzero"` // the same; zero in version 1
	Log      journal.Position `json:"log,omitzero"`      // where the journal in a backup ends; zero: it has none
	Created  int64            `json:"created"`           // ms
	Users    int64            `json:"users"`
	Tokens   int64            `json:"tokens"`
}

// Last is the last record that is in it, or in the journal with it.
func (m Manifest) Last() uint64 { return max(m.Sequence, m.Log.Sequence) }

// snapshotWriter writes chunks.
type snapshotWriter struct {
	w   io.Writer
	sum [sha256.Size]byte
	buf []byte // the payload at hand
	n   int64  // operations
}

// end writes the end of the snapshot.
func (w *snapshotWriter) end(key [32]byte) error {
	if err := w.flush(); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64([]byte{chunkEnd}, uint64(w.n))
	return w.chunk(append(b, snapshotMAC(key, w.sum, b)...))
}

func snapshotMAC(key, sum [32]byte, end []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(sum[:])
	h.Write(end)
	return h.Sum(nil)
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

func (w *snapshotWriter) op(o record.Op) error {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, chunkOps)
	}
	w.buf = record.AppendOp(w.buf, o)
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

// Snapshot writes a backup: a consistent copy of the store, as of one moment, while
// changes go on. It writes nothing to the store's own disk, which may be full.
func (s *Store) Snapshot(ctx context.Context, out io.Writer) (m Manifest, err error) {
	if err := s.await(); err != nil {
		return m, err
	}
	if err := s.awaitUses(ctx); err != nil {
		return m, err
	}
	return s.snapshot(ctx, out, true)
}

// awaitUses waits until what a kill has left in the log of uses is counted, or there
// is no room on the disk to count it.
func (s *Store) awaitUses(ctx context.Context) error {
	for {
		select {
		case <-s.uses.Counted():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return ErrClosed
		case <-time.After(20 * time.Millisecond):
			if s.space.Short() != nil && (isClosed(s.loaded) || isClosed(s.unloadable)) {
				return nil
			}
		}
	}
}

// snapshot writes a backup or, without the journal, a checkpoint.
func (s *Store) snapshot(ctx context.Context, out io.Writer, backup bool) (m Manifest, err error) {
	keyring, err := os.ReadFile(s.path("keyring"))
	if err != nil {
		return m, err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := &snapshotWriter{w: buffered}
	if _, err := io.WriteString(buffered, snapshotMagic); err != nil {
		return m, err
	}
	var log *journal.Copy
	turn := s.lag.turn.Load()
	err = s.view(func(txn *badger.Txn) (err error) {
		steady := turn%2 == 0 && turn == s.lag.turn.Load()
		if !backup && !steady {
			return ErrNoSpace // the index is behind, or was a moment ago
		}
		marks, want, err := s.applied(txn)
		if err != nil {
			return err
		}
		m = Manifest{Sequence: marks.at.Sequence, Position: marks.at, Created: s.now(), Users: want.names, Tokens: want.tokens}
		if backup {
			// Whatever of a later record the index has already, the journal brings in again.
			if log, err = s.journal.Copy(); err != nil {
				return err
			}
			m.Log = log.End()
		}
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
		return s.writeOps(ctx, txn, w, want, steady, backup)
	})
	if log != nil {
		defer log.Close()
	}
	if err == nil {
		err = w.end(s.snapshotKey)
	}
	if err == nil && backup {
		err = s.writeLog(ctx, w, log, m.Sequence)
	}
	if err != nil {
		return m, err
	}
	return m, buffered.Flush()
}

// writeLog writes the journal. Where an old segment is damaged, which a start does not
// see, the backup has what comes after it: it must not be the store's last backup.
func (s *Store) writeLog(ctx context.Context, w *snapshotWriter, log *journal.Copy, needed uint64) error {
	var pieces uint64
	var b []byte
	first := log.Segments()
	for from := 0; ; {
		ended, err := log.Read(ctx, from, func(p journal.Piece) error {
			if s.isClosing() {
				return ErrClosed
			}
			pieces++
			b = p.Append(append(b[:0], chunkPiece))
			return w.chunk(b)
		})
		if err == nil {
			return w.chunk(binary.BigEndian.AppendUint64([]byte{chunkLast}, pieces))
		}
		if from = ended + 1; !errors.As(err, new(*journal.CorruptError)) || from >= len(first) || first[from] > needed+1 {
			return disk.NotRead("back up the audit log", err)
		}
		s.opts.Log.Error("the audit log is damaged; a backup has only what comes after that", "error", err, "first", first[from])
		if err := w.chunk([]byte{chunkReset}); err != nil {
			return err
		}
	}
}

// writeOps writes what the index holds, if it is what it should hold: a
// snapshot must not make the loss of a record final. While the index is behind the
// journal, perhaps with a part of what it lacks, that can't be told; a backup then
// has the journal.
func (s *Store) writeOps(ctx context.Context, txn *badger.Txn, w *snapshotWriter, want counts, steady, backup bool) error {
	var got counts
	for _, kind := range snapshotKinds {
		if kind == 'l' && backup {
			if err := s.writeUsagesNow(ctx, txn, w); err != nil {
				return err
			}
			continue
		}
		var revoked revokedRun
		for item := range scan(txn, []byte{kind}, nil) {
			if err := s.stopped(ctx); err != nil {
				return err
			}
			if kind == 'o' {
				revoked.take(item.Key(), &s.surplus)
			}
			v, err := item.ValueCopy(nil)
			if err != nil {
				return disk.NotRead(fmt.Sprintf("read %q", item.Key()), err)
			}
			if record.Sealed(kind) {
				if _, err := s.seals.Open(item.Key(), v); err != nil {
					return err // damage is not handed on
				}
			}
			if counted(kind) {
				got.enter(s.seals, item.Key(), v, 1)
			}
			if err := w.op(record.Op{Key: item.Key(), Value: append([]byte{}, v...)}); err != nil {
				return err
			}
		}
	}
	if steady && got != want {
		return fmt.Errorf("%w: the index holds %d records, and should hold %d", ErrDamaged, got.records, want.records)
	}
	return w.op(record.Op{Key: countsKey, Value: s.seals.Seal(countsKey, want.value())})
}

// stopped returns why a long work must end, if it must.
func (s *Store) stopped(ctx context.Context) error {
	if s.isClosing() {
		return ErrClosed
	}
	return ctx.Err()
}

// writeUsagesNow writes the usage records with what is not yet in Badger, without
// bringing it there: of all tokens, since one may have been used for the first time.
func (s *Store) writeUsagesNow(ctx context.Context, txn *badger.Txn, w *snapshotWriter) error {
	next, stop := iter.Pull(scan(txn, []byte{'l'}, nil))
	defer stop()
	stored, more := next()
	for item := range scan(txn, []byte{'t'}, nil) {
		if err := s.stopped(ctx); err != nil {
			return err
		}
		id := ID(item.Key()[1:])
		k := record.UsageKey(id)
		for more && bytes.Compare(stored.Key(), k) < 0 {
			stored, more = next() // of a token that is gone
		}
		var r record.UsageRecord
		there := more && bytes.Equal(stored.Key(), k)
		if there {
			b, err := stored.ValueCopy(nil)
			if err == nil {
				b, err = s.seals.Open(k, b)
			}
			if err == nil {
				r, err = record.ParseUsage(b)
			}
			if err != nil {
				return disk.NotRead(fmt.Sprintf("read %q", k), err)
			}
		}
		s.table.Usage(id, &r)
		if r.Used&1 == 0 && !there {
			continue // it was never used
		}
		if err := w.op(record.Op{Key: k, Value: s.seals.Seal(k, r.Value())}); err != nil {
			return err
		}
	}
	return nil
}

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
	r       *bufio.Reader
	begun   []byte    // the first line, the manifest and the keyring, as they were read
	copy    io.Writer // gets what is read and checked; nil: nobody
	version int
	offset  int64
	sum     [sha256.Size]byte
	ops     int64

	manifest Manifest
	keyring  []byte            // sealed
	last     [sha256.Size]byte // of the chunk before the end
	end      []byte            // the end
}

// openSnapshot reads the first line, the manifest and the keyring.
func openSnapshot(in io.Reader) (*snapshotReader, error) {
	r := &snapshotReader{r: bufio.NewReaderSize(in, 1<<20)}
	magic := make([]byte, len(snapshotMagic))
	_, err := io.ReadFull(r.r, magic)
	switch string(magic) {
	case snapshotMagic:
		r.version = 2
	case snapshotMagic1:
		r.version = 1
	default:
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		return nil, &SnapshotError{0, "it is no snapshot of a gatehouse that this one can read"}
	}
	r.offset = int64(len(magic))
	begun := bytes.NewBuffer(magic)
	r.copy = begun
	text, err := r.expect(chunkManifest)
	if err == nil && json.Unmarshal(text, &r.manifest) != nil {
		err = &SnapshotError{int64(len(magic)), "the manifest can't be read"}
	}
	if err == nil {
		r.keyring, err = r.expect(chunkKeyring)
	}
	r.begun, r.copy = begun.Bytes(), nil
	return r, err
}

func (r *snapshotReader) expect(kind byte) ([]byte, error) {
	at := r.offset
	is, data, err := r.chunk()
	if err == nil && is != kind {
		err = &SnapshotError{at, "a chunk is out of place"}
	}
	return data, err
}

// copyTo has everything copied, from the first line on, until it is called with nil.
func (r *snapshotReader) copyTo(w io.Writer) error {
	if r.copy = w; w == nil {
		return nil
	}
	_, err := w.Write(r.begun)
	r.begun = nil
	return err
}

// records calls fn with each chunk of operations, and returns nil only for a snapshot
// that is whole.
func (r *snapshotReader) records(fn func(ops []byte) error) error {
	for {
		at := r.offset
		r.last = r.sum
		kind, data, err := r.chunk()
		if err != nil {
			return err
		}
		switch kind {
		case chunkEnd:
			want := 8
			if r.version > 1 {
				want += sha256.Size
			}
			if len(data) != want || int64(binary.BigEndian.Uint64(data)) != r.ops {
				return &SnapshotError{at, "its end does not fit"}
			}
			r.end = data
			return nil
		case chunkOps:
			n, err := record.EachOp(data, func(record.Op) error { return nil })
			if err != nil {
				return &SnapshotError{at, "a chunk has an unknown form"}
			}
			r.ops += n
			if err := fn(data); err != nil {
				return err
			}
		default:
			return &SnapshotError{at, "a chunk is out of place"}
		}
	}
}

// authentic returns nil if a store that has the key wrote the snapshot as it is. Of
// version 1 that can't be told. It is for after records.
func (r *snapshotReader) authentic(key [32]byte) error {
	if r.version == 1 {
		return nil
	}
	if !hmac.Equal(snapshotMAC(key, r.last, append([]byte{chunkEnd}, r.end[:8]...)), r.end[8:]) {
		return &SnapshotError{0, "its parts do not belong together: it was put together from several, or changed"}
	}
	return nil
}

// log calls put with each piece of the journal in a backup, and reset when what came
// so far does not count. It is for after records.
func (r *snapshotReader) log(put func(journal.Piece) error, reset func() error) error {
	if r.manifest.Log == (journal.Position{}) {
		return nil
	}
	for pieces := uint64(0); ; {
		at := r.offset
		kind, data, err := r.chunk()
		if err != nil {
			return err
		}
		switch kind {
		case chunkPiece:
			p, ok := journal.DecodePiece(data)
			if !ok {
				return &SnapshotError{at, "a chunk has an unknown form"}
			}
			pieces++
			err = put(p)
		case chunkReset:
			err = reset()
		case chunkLast:
			if len(data) != 8 || binary.BigEndian.Uint64(data) != pieces {
				return &SnapshotError{at, "its end does not fit"}
			}
			return nil
		default:
			return &SnapshotError{at, "a chunk is out of place"}
		}
		if err != nil {
			return err
		}
	}
}

// atEnd returns an error if something follows.
func (r *snapshotReader) atEnd() error {
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		return &SnapshotError{r.offset, "something follows its end"}
	}
	return nil
}

// chunk returns the kind of the next chunk, and what is in it.
func (r *snapshotReader) chunk() (kind byte, data []byte, err error) {
	var head [4 + sha256.Size]byte
	if err := r.read(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxChunkSize {
		return 0, nil, &SnapshotError{r.offset, "a chunk has an impossible length"}
	}
	payload := make([]byte, n)
	if err := r.read(payload); err != nil {
		return 0, nil, err
	}
	if r.sum = chain(r.sum, payload); !bytes.Equal(r.sum[:], head[4:]) {
		return 0, nil, &SnapshotError{r.offset, "a checksum is wrong"}
	}
	r.offset += int64(len(head) + len(payload))
	if r.copy != nil {
		_, err = r.copy.Write(head[:])
		if err == nil {
			_, err = r.copy.Write(payload)
		}
	}
	return payload[0], payload[1:], err
}

func (r *snapshotReader) read(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &SnapshotError{r.offset, "it is cut off"}
	}
	return err
}

// CheckSnapshot reads a whole backup and returns its manifest, or a
// *SnapshotError. Without the key it can't tell whether its parts belong together.
func CheckSnapshot(in io.Reader) (Manifest, error) {
	r, err := openSnapshot(in)
	if err != nil {
		return Manifest{}, err
	}
	err = r.records(func([]byte) error { return nil })
	if err == nil {
		err = r.log(func(journal.Piece) error { return nil }, func() error { return nil })
	}
	if err == nil {
		err = r.atEnd()
	}
	return r.manifest, err
}
