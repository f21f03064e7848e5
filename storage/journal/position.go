package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Position is a place between two batches, named by the record before it. The
// hash is the chain's value there, which depends on every record up to it: two
// journals that have the same position have the same history. So a position
// tells what a number can't: whether a journal is the same one as before, or an
// older copy that has gone another way since.
type Position struct {
	Sequence uint64
	Hash     [sha256.Size]byte
}

// PositionSize is the length of an encoded position, in bytes.
const PositionSize = 8 + sha256.Size

// ErrElsewhere says that this journal does not have a position: it ends before
// the position, or has other records there.
var ErrElsewhere = errors.New("the journal does not have this position")

// String returns the sequence and the hash, in hexadecimal, separated by a colon.
func (p Position) String() string { return fmt.Sprintf("%d:%x", p.Sequence, p.Hash) }

// ParsePosition parses the output of String.
func ParsePosition(text string) (p Position, err error) {
	number, hash, _ := strings.Cut(text, ":")
	p.Sequence, err = strconv.ParseUint(number, 10, 64)
	b, hexErr := hex.DecodeString(hash)
	if err != nil || hexErr != nil || len(b) != len(p.Hash) {
		return Position{}, fmt.Errorf("a position is a record's number, a colon and %d hexadecimal digits", 2*len(p.Hash))
	}
	copy(p.Hash[:], b)
	return p, nil
}

// Append encodes a position in PositionSize bytes.
func (p Position) Append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, p.Sequence), p.Hash[:]...)
}

// DecodePosition reads what Append wrote.
func DecodePosition(b []byte) (p Position, ok bool) {
	if len(b) != PositionSize {
		return Position{}, false
	}
	p.Sequence = binary.BigEndian.Uint64(b)
	copy(p.Hash[:], b[8:])
	return p, true
}

// End returns the position after the last durable record.
func (j *Journal) End() Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Position{j.end.last, j.end.chain}
}

// At returns the position after a record that ends a batch. Every record that End
// has returned ends a batch. Errors: ErrElsewhere when no batch ends with the
// record, ErrPruned when it is no longer kept, those of ctx, and *CorruptError. At
// reads no more than one segment.
func (j *Journal) At(ctx context.Context, sequence uint64) (Position, error) {
	segments, end, _, err := j.durable()
	switch {
	case err != nil:
		return Position{}, err
	case sequence == end.last:
		return Position{end.last, end.chain}, nil
	case sequence > end.last:
		return Position{}, fmt.Errorf("%w: it ends with record %d, before %d", ErrElsewhere, end.last, sequence)
	case len(segments) == 0 || segments[0].first > sequence+1:
		return Position{}, ErrPruned
	}
	r := j.reader()
	defer r.close()
	if err := r.from(segments, sequence); err != nil {
		return Position{}, err
	}
	for r.next <= sequence {
		if err := ctx.Err(); err != nil {
			return Position{}, err
		}
		_, err := r.read(segments, end)
		if errors.Is(err, errBlank) || errors.Is(err, io.EOF) {
			err = r.scan.corrupt(r.offset, "acknowledged records are missing here")
		}
		if err != nil {
			return Position{}, err
		}
	}
	if r.next != sequence+1 {
		return Position{}, fmt.Errorf("%w: record %d is not the last of a batch", ErrElsewhere, sequence)
	}
	return Position{sequence, r.chain}, nil
}

// Has returns nil when the journal has a position, and otherwise the errors of
// At. It returns ErrElsewhere also when the journal has other records up to
// there.
func (j *Journal) Has(ctx context.Context, p Position) error {
	own, err := j.At(ctx, p.Sequence)
	if err != nil {
		return err
	}
	if own != p {
		return fmt.Errorf("%w: it has another record %d", ErrElsewhere, p.Sequence)
	}
	return nil
}
