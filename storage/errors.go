package storage

import (
	"errors"
	"fmt"

	"gatehouse/storage/disk"
)

// What can be wrong. Messages are sentences that a client may see where the
// server says so; the wrapped error of a damaged or failing store is not.
var (
	ErrNoUser     = errors.New("no such user")
	ErrNoToken    = errors.New("no such token")
	ErrNoIdentity = errors.New("the user has no such identity")
	ErrNoSession  = errors.New("no such session")
	ErrAmbiguous  = errors.New("more than one token has an id that begins so")
	ErrUserExists = errors.New("a user of that name exists already")
	//lint:ignore ST1005 users are shown it as it is
	ErrOtherAccount = errors.New("This address belongs to another account")
	//lint:ignore ST1005 users are shown it as it is
	ErrNoAddress = errors.New("There is no e-mail address for this account: ask an administrator")
	ErrLinked    = errors.New("the identity is another user's, who must be unlinked from it first")
	ErrNotLocal  = errors.New("the user has no password here: it logs in elsewhere")
	ErrTooMany   = errors.New("the user holds as many tokens as are allowed: revoke one first")
	ErrWornOut   = errors.New("the token was rotated 255 times: make a new one")
	ErrRefused   = errors.New("the token does not authenticate")

	// ErrDamaged says that what is on the disk is not what was written.
	ErrDamaged = disk.ErrDamaged

	// ErrFailed says that a write could not be made durable. The store takes
	// no further change until it is opened again: a sync that failed once may
	// have lost what it was to save, and a second that succeeds says nothing of it.
	ErrFailed = errors.New("the store can't write to its disk")
	// ErrUnavailable says that the system refused to read or write just now, such as
	// when there are too many open files. Nothing was changed, nothing is damaged, and
	// the next call may succeed.
	ErrUnavailable = errors.New("the store can't be read or written at the moment")
	// ErrNoSpace says that the disk is full but for what is kept for revocations.
	ErrNoSpace = errors.New("the disk is full")
	// ErrNoDirectory says that the data directory was moved or removed while the store
	// is open. Revocations go on in a directory that was moved.
	ErrNoDirectory = errors.New("the data directory was moved or removed: put it back, or stop this process and start it with the directory's new place")
	ErrClosed      = errors.New("the store is closed")
	// ErrOpening says that only verification is possible as yet.
	ErrOpening = errors.New("the store is being opened")
)

// LockedError says that another process holds the store.
type LockedError struct {
	Dir    string
	Holder string // who, as the holder wrote it
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is held by %s", e.Dir, e.Holder)
}

// InvalidError is bad input; its message says what to do.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return e.Message }

func invalidf(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}
