package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError says that another process holds the data directory.
type LockedError struct {
	Dir    string
	Holder string // who holds it, in the holder's words
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is held by %s", e.Dir, e.Holder)
}

// DirLock is a data directory that this process holds.
type DirLock struct{ file *os.File }

// Close gives the directory back. It does so explicitly: a child that this process is just
// starting has copies of all descriptors until it runs its program, so closing alone would
// leave the directory locked for that time.
func (l *DirLock) Close() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}

// Lock takes the data directory for this process until the lock is closed, or returns a
// *[LockedError]. The kernel releases the lock when the process ends, even after a kill.
// holder names this process to a second one.
func Lock(dir, holder string) (*DirLock, error) {
	// Do not follow a link: that would overwrite its target.
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		b, _ := io.ReadAll(io.LimitReader(f, 256))
		who := strings.TrimSpace(string(b))
		if who == "" {
			who = "another process"
		}
		return nil, &LockedError{Dir: dir, Holder: who}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if holder == "" {
		holder = "gatehouse"
	}
	f.Truncate(0)
	fmt.Fprintf(f, "%s, process %d\n", holder, os.Getpid())
	return &DirLock{f}, nil
}
