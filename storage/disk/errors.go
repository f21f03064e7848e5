package disk

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// The kinds of errors, by what can be done about them.
var (
	// ErrDamaged says that a file, or a record in it, is not what was written.
	ErrDamaged = errors.New("damaged store")
	// ErrFailed says that a write could not be made durable. The store takes
	// no further change until it is opened again: a sync that failed once may
	// have lost what it was to save, and a second that succeeds says nothing of it.
	ErrFailed = errors.New("the store can't write to its disk")
	// ErrUnavailable says that the system refused to read or write just now, such as
	// when there are too many open files. Nothing was changed, nothing is damaged, and
	// the next call may succeed.
	ErrUnavailable = errors.New("the store can't be read or written at the moment")
	// ErrNoSpace says that the disk is full, except for what is kept for revocations.
	ErrNoSpace = errors.New("the disk is full")
	// ErrNoDirectory says that the data directory was moved or removed while the store
	// is open. Revocations go on in a directory that was moved.
	ErrNoDirectory = errors.New("the data directory was moved or removed: put it back, or stop this process and start it with the directory's new place")
	// ErrRemoved is the ErrNoDirectory of a directory that was removed: nothing that is
	// written to it outlives the process.
	ErrRemoved = fmt.Errorf("%w: it was removed", ErrNoDirectory)
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// RestoreAdvice is what to do about a store whose files can't be used as they are.
const RestoreAdvice = `restore the newest backup over this directory with "gatehouse restore", which keeps the revocations that can still be read`

// refusals are the errors by which the operating system says that it can't do now what it
// might do later: there are too many open files, or no memory, or the disk is full or
// does not answer. They say nothing about what the files contain.
var refusals = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	syscall.EACCES, syscall.EPERM, syscall.EROFS,
	syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EUCLEAN,
}

// Refusal returns why the system refused what gave this error, or 0 if it did not: then
// what was read is wrong. Badger passes on only the text of such errors.
func Refusal(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	text := err.Error()
	for _, no := range refusals {
		if errors.Is(err, no) || strings.Contains(text, no.Error()) {
			return no
		}
	}
	return 0
}

// NotRead wraps an error of reading the store: as [ErrUnavailable] where the system
// could not read, and as [ErrDamaged] where it did and what it read is wrong. To take
// the one for the other sends an operator to a backup because of a limit of open
// files.
func NotRead(what string, err error) error {
	kind := ErrDamaged
	if Refusal(err) != 0 {
		kind = ErrUnavailable
	}
	return fmt.Errorf("%w: %s: %w", kind, what, err)
}

// NotWritten wraps an error of writing, by why it could not be done: [ErrNoSpace] or
// [ErrUnavailable]. One that has a kind already keeps it.
func NotWritten(what string, err error) error {
	for _, kind := range []error{ErrNoSpace, ErrNoDirectory, ErrUnavailable, ErrFailed, ErrDamaged, ErrClosed} {
		if errors.Is(err, kind) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	kind := ErrUnavailable
	switch Refusal(err) {
	case syscall.ENOSPC, syscall.EDQUOT:
		kind = ErrNoSpace
	}
	return fmt.Errorf("%w: %s: %w", kind, what, err)
}

// Explain adds to an error of opening a store what to do about it.
func Explain(err error) error {
	switch Refusal(err) {
	case syscall.EMFILE:
		return fmt.Errorf("%w: nothing is wrong with the store: raise the limit of open files (ulimit -n, or LimitNOFILE of the service), and start again", err)
	case syscall.ENFILE:
		return fmt.Errorf("%w: nothing is wrong with the store: this host has too many open files (sysctl fs.file-max)", err)
	case syscall.ENOSPC, syscall.EDQUOT:
		return fmt.Errorf("%w: nothing is wrong with the store: make room on its disk, and start again", err)
	case syscall.EIO:
		return fmt.Errorf("%w: the disk does not read or write this: look at the kernel's log, and at the disk, before anything else", err)
	}
	return err
}
