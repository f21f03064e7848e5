package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// The kinds of errors, by what can be done about them.
var (
	// ErrDamaged says that a file, or a record in it, has changed since it was
	// written.
	ErrDamaged = errors.New("damaged store")
	// ErrFailed says that a write could not be made durable. The store takes no
	// further change until it is opened again: a sync that failed once may have
	// lost data, and a second sync that succeeds says nothing about that.
	ErrFailed = errors.New("the store can't write to its disk")
	// ErrUnavailable says that the system refused to read or write at the moment, for
	// example because there are too many open files. Nothing was changed, nothing is
	// damaged, and the next call may succeed.
	ErrUnavailable = errors.New("the store can't be read or written at the moment")
	// ErrNoSpace says that the disk is full, except for the reserve for revocations.
	ErrNoSpace = errors.New("the disk is full")
	// ErrNoDirectory says that the data directory was moved or removed while the store
	// is open. Revocations go on in a directory that was moved.
	ErrNoDirectory = errors.New("the data directory was moved or removed: put it back, or stop this process and start it with the directory's new place")
	// ErrRemoved is the ErrNoDirectory for a directory that was removed: data written
	// to it does not outlive the process.
	ErrRemoved = fmt.Errorf("%w: it was removed", ErrNoDirectory)
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// IsClosed reports whether a channel is closed, such as the one that tells the parts of a
// store to end with [ErrClosed].
func IsClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Nameless returns the error of a file operation without the name of the file, which the user
// has not given.
func Nameless(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// RestoreAdvice says what to do about a store with unusable files.
const RestoreAdvice = `restore the newest backup over this directory with "gatehouse restore", which keeps the revocations that can still be read`

// refusals are the errors with which the operating system refuses a call that may succeed
// later: too many open files, no memory, a full disk, or a disk that does not answer.
// They say nothing about the content of the files.
var refusals = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	syscall.EACCES, syscall.EPERM, syscall.EROFS,
	syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EUCLEAN,
}

// Refusal returns the refusal of the system in an error, or 0 if there is none: then
// the data that was read is wrong. Badger passes on only the text of such errors.
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

// NotRead wraps an error of reading the store: as [ErrUnavailable] if the system
// could not read, and as [ErrDamaged] if it read wrong data. Confusing the two would
// make an operator restore a backup because of a limit on open files. An empty what is
// for an error that says itself what was tried.
func NotRead(what string, err error) error {
	kind := ErrDamaged
	if Refusal(err) != 0 {
		kind = ErrUnavailable
	}
	if what == "" {
		return fmt.Errorf("%w: %w", kind, err)
	}
	return fmt.Errorf("%w: %s: %w", kind, what, err)
}

// NotWritten wraps an error of writing by its cause: as [ErrNoSpace] or
// [ErrUnavailable]. An error that already has a kind keeps it.
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

// Explain adds to an error of opening a store advice on what to do.
func Explain(err error) error {
	switch Refusal(err) {
	case syscall.EMFILE:
		return fmt.Errorf("%w: nothing is wrong with the store: raise the limit of open files (ulimit -n, or LimitNOFILE of the service), and start again", err)
	case syscall.ENFILE:
		return fmt.Errorf("%w: nothing is wrong with the store: this host has too many open files (sysctl fs.file-max)", err)
	case syscall.ENOSPC, syscall.EDQUOT:
		return fmt.Errorf("%w: nothing is wrong with the store: make room on its disk, and start again", err)
	case syscall.EIO:
		return fmt.Errorf("%w: the disk can't read or write this: first look at the kernel's log and test the disk", err)
	}
	return err
}
