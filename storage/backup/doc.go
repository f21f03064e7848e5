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
//	length of the payload 4 | SHA-256 of the previous chunk's SHA-256 and the payload 32 | payload
//
// so that a flipped bit, a missing end and a chunk in the wrong place are all
// detected. The payload's first byte is its kind: the manifest (M), the keyring (K),
// sealed as on the disk, operations as in the journal (O), and the end:
//
//	E | number of operations 8 | HMAC of the last chunk's SHA-256 and the number 32
//
// The HMAC says that all chunks belong together, so that the records of an old backup
// can't be put under the manifest of a newer one.
//
// A checkpoint is a snapshot. In a backup the journal follows, as far as it is kept:
// pieces of its files (J), perhaps a mark that the pieces so far do not count (R),
// and their number (Z). The journal authenticates itself, and the manifest says where
// it ends. It may go beyond the record of the snapshot.
//
//	checkpoint   M K O O ... E
//	backup       M K O O ... E J J R J ... Z
package backup

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"gatehouse/storage/journal"
)

const (
	magic = "GATEHOUSE SNAPSHOT 2\n"

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

// Manifest describes a snapshot.
type Manifest struct {
	Sequence uint64           `json:"sequence"`          // of the last journal record in the snapshot
	Position journal.Position `json:"position,omitzero"` // the same
	Journal  journal.Position `json:"log,omitzero"`      // where the journal in a backup ends; zero: it has none
	Created  int64            `json:"created"`           // ms
	Users    int64            `json:"users"`
	Tokens   int64            `json:"tokens"`
}

// Last returns the last record in the snapshot, or in the journal of the
// backup.
func (m Manifest) Last() uint64 { return max(m.Sequence, m.Journal.Sequence) }

// HasJournal reports whether the backup has a journal.
func (m Manifest) HasJournal() bool { return m.Journal != (journal.Position{}) }

// Error says where a snapshot does not verify.
type Error struct {
	Offset int64
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("verification fails at byte %d: %s", e.Offset, e.Reason)
}

// chain returns the checksum of a chunk, given the checksum of the previous one.
func chain(sum [sha256.Size]byte, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(sum[:])
	h.Write(payload)
	h.Sum(sum[:0])
	return sum
}

// endMAC authenticates the end, and through the checksum before it everything
// before the end.
func endMAC(key, sum [32]byte, end []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write(sum[:])
	h.Write(end)
	return h.Sum(nil)
}
