// Package backup owns the format of backups and checkpoints. It writes them to a stream and
// reads them from one, in one pass and in little memory.
//
// It never decides what goes into a backup, or what happens to one that was read. It
// opens no file and knows no store. It never repairs: for data that does not verify it
// returns an [Error] that says where.
//
// # Format
//
// A snapshot is the whole store as of one record of the journal, except for sessions
// and the key file. It is a first line and chunks:
//
//	length of the payload 4 | SHA-256 of the chunk before's and the payload 32 | payload
//
// so that a flipped bit, a missing end and a chunk in the wrong place all show.
// The payload's first byte is its kind: the manifest (M), the keyring (K), sealed as
// on the disk, operations as in the journal (O), and the end:
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
//	checkpoint   M K O O ... E
//	backup       M K O O ... E J J R J ... Z
//
// Version 1 had no HMAC and no journal.
package backup

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"gatehouse/storage/journal"
)

const (
	magic  = "GATEHOUSE SNAPSHOT 2\n"
	magic1 = "GATEHOUSE SNAPSHOT 1\n"

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

// HasLog reports whether the journal is in it.
func (m Manifest) HasLog() bool { return m.Log != (journal.Position{}) }

// Error says where a snapshot does not verify.
type Error struct {
	Offset int64
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the snapshot does not verify at byte %d: %s", e.Offset, e.Reason)
}

// chain is the checksum of a chunk that comes after the one with the checksum sum.
func chain(sum [sha256.Size]byte, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(sum[:])
	h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

// endMAC authenticates the end, and by the checksum before it all that came so far.
func endMAC(key, sum [32]byte, end []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(sum[:])
	h.Write(end)
	return h.Sum(nil)
}
