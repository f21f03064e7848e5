package journal

import (
	"errors"
	"fmt"
	"syscall"
)

var (
	// ErrNoSpace says that the disk is full. For a batch that is not essential,
	// it means that only the reserve is left; for an essential one, that the
	// reserve is used up too. Nothing was written, and a later Append may
	// succeed.
	ErrNoSpace = errors.New("no space left for the journal")

	// ErrFailed says that a sync has failed, now or earlier, or that a failed write could
	// not be undone. The batch at hand may or may not be on the disk. The journal takes
	// no further appends until it is opened again; reading goes on.
	ErrFailed = errors.New("the journal has failed and takes no more changes until a restart")

	// Every call returns ErrClosed after Close.
	ErrClosed = errors.New("the journal is closed")

	// ErrTooLarge says that a batch exceeds MaxBatch, or an actor 65,535 bytes.
	ErrTooLarge = errors.New("too large for one batch of the journal")

	// ErrPruned says that the records asked for are older than FirstSequence.
	ErrPruned = errors.New("these records are no longer kept")

	// ErrEmpty says that there is no journal, and that Options.Create did not
	// allow making one.
	ErrEmpty = errors.New("no journal here")

	// ErrKey says that a segment is undamaged but was authenticated with another
	// key, or was edited by somebody who lacks the key.
	ErrKey = errors.New("the journal was not written with this key")

	// ErrLocked says that another process has the journal open.
	ErrLocked = errors.New("the journal is in use by another process")

	// ErrVersion says that a later version of the program wrote the journal.
	ErrVersion = errors.New("the journal has a newer format")
)

// A CorruptError names the first bytes that can't be what was written. The
// files stay as they were.
type CorruptError struct {
	File   string // path of the segment
	Offset int64  // of the first bad byte range in File
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal file %s is damaged at byte %d: %s; nothing was changed: "+
		"put back an undamaged copy of this file, or restore the newest backup over this directory "+
		"with \"gatehouse restore\", which keeps the revocations that can still be read",
		e.File, e.Offset, e.Reason)
}

// full reports whether an error means a full disk or a used-up quota, and not a
// failing disk.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
