package backup

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"

	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// Reader reads a snapshot and checks it. The manifest and the keyring are available at
// once. Then call [Reader.Records], [Reader.Journal] and [Reader.AtEnd], in this order.
type Reader struct {
	Manifest Manifest
	Keyring  []byte // sealed

	r      *bufio.Reader
	begun  []byte    // the first line, the manifest and the keyring, as they were read
	copy   io.Writer // receives the bytes that were read and checked; nil: none
	offset int64
	sum    [sha256.Size]byte
	ops    int64

	last [sha256.Size]byte // of the chunk before the end
	end  []byte            // the end
}

// Offset returns how many bytes were read and checked.
func (r *Reader) Offset() int64 { return r.offset }

// Open reads the first line, the manifest and the keyring. It returns an *[Error] if
// the input is not a snapshot.
func Open(in io.Reader) (*Reader, error) {
	r := &Reader{r: bufio.NewReaderSize(in, 1<<20)}
	first := make([]byte, len(magic))
	_, err := io.ReadFull(r.r, first)
	if string(first) != magic {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		return nil, &Error{0, "it is not a backup that this version of gatehouse can read"}
	}
	r.offset = int64(len(first))
	begun := bytes.NewBuffer(first)
	r.copy = begun
	text, err := r.expect(chunkManifest)
	if err == nil && json.Unmarshal(text, &r.Manifest) != nil {
		err = &Error{int64(len(first)), "the manifest can't be read"}
	}
	if err == nil {
		r.Keyring, err = r.expect(chunkKeyring)
	}
	r.begun, r.copy = begun.Bytes(), nil
	return r, err
}

func (r *Reader) expect(kind byte) ([]byte, error) {
	at := r.offset
	is, data, err := r.chunk()
	if err == nil && is != kind {
		err = &Error{at, "a chunk is out of place"}
	}
	return data, err
}

// CopyTo copies everything that is read to w, from the first line on, until CopyTo is
// called with nil.
func (r *Reader) CopyTo(w io.Writer) error {
	if r.copy = w; w == nil {
		return nil
	}
	_, err := w.Write(r.begun)
	r.begun = nil
	return err
}

// Records calls fn with each chunk of operations, which [record.EachOp] reads, and
// returns nil only for a complete snapshot.
func (r *Reader) Records(fn func(ops []byte) error) error {
	for {
		at := r.offset
		r.last = r.sum
		kind, data, err := r.chunk()
		if err != nil {
			return err
		}
		switch kind {
		case chunkEnd:
			if len(data) != 8+sha256.Size || int64(binary.BigEndian.Uint64(data)) != r.ops {
				return &Error{at, "its end does not match the rest"}
			}
			r.end = data
			return nil
		case chunkOps:
			n, err := record.EachOp(data, func(record.Op) error { return nil })
			if err != nil {
				return &Error{at, "a chunk has an unknown form"}
			}
			r.ops += n
			if err := fn(data); err != nil {
				return err
			}
		default:
			return &Error{at, "a chunk is out of place"}
		}
	}
}

// Authentic returns nil if a store that has the key wrote exactly this snapshot.
// Call it after [Reader.Records].
func (r *Reader) Authentic(key [32]byte) error {
	if !hmac.Equal(endMAC(key, r.last, append([]byte{chunkEnd}, r.end[:8]...)), r.end[8:]) {
		return &Error{0, "its parts do not belong together: it was changed, or assembled from several backups"}
	}
	return nil
}

// Journal calls put with each piece of the journal in a backup, and reset when the
// pieces so far do not count. Call it after [Reader.Records].
func (r *Reader) Journal(put func(journal.Piece) error, reset func() error) error {
	if !r.Manifest.HasJournal() {
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
				return &Error{at, "a chunk has an unknown form"}
			}
			pieces++
			err = put(p)
		case chunkReset:
			err = reset()
		case chunkLast:
			if len(data) != 8 || binary.BigEndian.Uint64(data) != pieces {
				return &Error{at, "its end does not match the rest"}
			}
			return nil
		default:
			return &Error{at, "a chunk is out of place"}
		}
		if err != nil {
			return err
		}
	}
}

// AtEnd returns an error if something follows.
func (r *Reader) AtEnd() error {
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		return &Error{r.offset, "there is data after its end"}
	}
	return nil
}

// chunk returns the kind and the content of the next chunk.
func (r *Reader) chunk() (kind byte, data []byte, err error) {
	var head [4 + sha256.Size]byte
	if err := r.read(head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxChunkSize {
		return 0, nil, &Error{r.offset, "a chunk has an impossible length"}
	}
	payload := make([]byte, n)
	if err := r.read(payload); err != nil {
		return 0, nil, err
	}
	if r.sum = chain(r.sum, payload); !bytes.Equal(r.sum[:], head[4:]) {
		return 0, nil, &Error{r.offset, "a checksum is wrong"}
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

func (r *Reader) read(b []byte) error {
	_, err := io.ReadFull(r.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{r.offset, "it is cut off"}
	}
	return err
}

// Check reads a whole backup and returns its manifest, or an *[Error]. Without
// the key it can't tell whether its parts belong together.
func Check(in io.Reader) (Manifest, error) {
	r, err := Open(in)
	if err != nil {
		return Manifest{}, err
	}
	err = r.Records(func([]byte) error { return nil })
	if err == nil {
		err = r.Journal(func(journal.Piece) error { return nil }, func() error { return nil })
	}
	if err == nil {
		err = r.AtEnd()
	}
	return r.Manifest, err
}
