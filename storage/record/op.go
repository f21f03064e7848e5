package record

import (
	"encoding/binary"
	"fmt"

	"gatehouse/storage/disk"
)

// Op puts a value under a key, or deletes a key when the value is nil. The value is what
// is stored: sealed, or a hint.
type Op struct {
	Key, Value []byte
	First      bool // nothing was ever stored under the key; this flag is not encoded
}

// An operation is encoded as put or delete, then the key and the value, each after its
// length.
const (
	opDelete = 0
	opPut    = 1
)

// AppendOp writes an operation.
func AppendOp(b []byte, o Op) []byte {
	if o.Value == nil {
		return AppendBytes(append(b, opDelete), o.Key)
	}
	return AppendBytes(AppendBytes(append(b, opPut), o.Key), o.Value)
}

// EachOp decodes operations that AppendOp encoded, calls fn with each, and
// returns how many there were. It returns [disk.ErrDamaged] for any other form.
func EachOp(b []byte, fn func(Op) error) (n int64, err error) {
	bad := fmt.Errorf("%w: operations of an unknown form", disk.ErrDamaged)
	for ; len(b) > 0; n++ {
		var o Op
		var ok bool
		kind := b[0]
		if o.Key, b, ok = CutBytes(b[1:]); !ok || kind > opPut {
			return n, bad
		}
		if kind == opPut {
			if o.Value, b, ok = CutBytes(b); !ok {
				return n, bad
			}
		}
		if err := fn(o); err != nil {
			return n, err
		}
	}
	return n, nil
}

// AllOps decodes all operations that AppendOp encoded.
func AllOps(b []byte) (ops []Op, err error) {
	_, err = EachOp(b, func(o Op) error {
		ops = append(ops, o)
		return nil
	})
	return ops, err
}

// AppendBytes writes a value after its length.
func AppendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// CutBytes returns a value that AppendBytes wrote, and the rest. The value is never
// nil.
func CutBytes(b []byte) (v, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	b = b[used:]
	return b[:n:n], b[n:], true
}
