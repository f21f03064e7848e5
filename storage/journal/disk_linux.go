package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// allocate first reserves all the space, so that a full disk is reported before
// it is filled any further. Then it writes the zeros. Space that is only
// reserved reads as zeros too, but the first sync of each block in it has to
// change the file system's metadata: batches of 6 KiB, each synced, ran at
// 7,700 a second in it on ext4, and at 10,000 in space that had been written.
// The writing costs about 1 ms for each MiB.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == nil, errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return writeZeros(f, size)
		case errors.Is(err, unix.EINTR):
		default:
			return &os.PathError{Op: "allocate", Path: f.Name(), Err: err}
		}
	}
}

// datasync does not write metadata that readers don't need, such as the
// modification time. A segment's size never changes, so this is one flush of
// the data. An interrupted call has not failed: it has not happened, and
// datasync repeats it, as os.File.Sync does.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
		}
	}
}

func lock(dir *os.File) error {
	err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w", dir.Name(), ErrLocked)
	}
	if err != nil {
		return &os.PathError{Op: "lock", Path: dir.Name(), Err: err}
	}
	return nil
}
