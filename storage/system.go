package storage

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// systemErrors are what the operating system says when it can't do now what it
// might do later: there are too many open files, or no memory, or the disk is full or
// does not answer. They say nothing about what the files contain.
var systemErrors = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG,
	syscall.EACCES, syscall.EPERM, syscall.EROFS,
	syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EUCLEAN,
}

// systemError returns which of them an error is, or 0. Badger passes on only their
// text.
func systemError(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	text := err.Error()
	for _, no := range systemErrors {
		if errors.Is(err, no) || strings.Contains(text, no.Error()) {
			return no
		}
	}
	return 0
}

// notRead wraps an error of reading the store: as ErrUnavailable where the system
// could not read, and as ErrDamaged where it did and what it read is wrong. To take
// the one for the other sends an operator to a backup because of a limit of open
// files.
func notRead(what string, err error) error {
	kind := ErrDamaged
	if systemError(err) != 0 {
		kind = ErrUnavailable
	}
	return fmt.Errorf("%w: %s: %w", kind, what, err)
}

// notWritten wraps an error of writing, by why it could not be done: ErrNoSpace,
// ErrNoDirectory or ErrUnavailable. One of ours it returns as it is.
func notWritten(what string, err error) error {
	for _, ours := range []error{ErrNoSpace, ErrNoDirectory, ErrUnavailable, ErrFailed, ErrDamaged, ErrClosed, ErrNoSession} {
		if errors.Is(err, ours) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	kind := ErrUnavailable
	switch systemError(err) {
	case syscall.ENOSPC, syscall.EDQUOT:
		kind = ErrNoSpace
	}
	return fmt.Errorf("%w: %s: %w", kind, what, err)
}

// explain adds to an error of opening a store what to do about it.
func explain(err error) error {
	switch systemError(err) {
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
