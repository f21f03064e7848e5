// Package storagetest has what tests of a store, and of packages that use one,
// have in common: a clock that they move, and a log that they read. It imports
// no other package of Gatehouse, so that the tests of every package can use it.
package storagetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Segment is the size of a new segment of the journal in tests, in bytes: a store writes it out
// before its first record, and a test seldom fills the default.
const Segment = 1 << 20

// CopyStore copies a store's directory as a kill of its process would leave it. Holes stay
// holes: most files of a store are much longer than what is written in them. A kill happens
// at one moment, so a copy during which a file came or went is made again: an open store
// drops a segment of the log of uses once the index has its uses, and such a copy could
// lack them in both.
func CopyStore(from, to string) error {
	for tries := 1; ; tries++ {
		before, err := Files(from)
		if err != nil {
			return err
		}
		err = copyAll(from, to)
		if after, _ := Files(from); err == nil && slices.Equal(before, after) {
			return nil
		}
		if tries == 1000 {
			return fmt.Errorf("copy %s: %w", from, cmp.Or(err, errors.New("its files come and go")))
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// copyAll copies a file, or a directory with all that is in it. It starts no process, which
// would hold the locks of all open stores for a moment.
func copyAll(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		switch target := filepath.Join(to, rel); {
		case d.IsDir():
			return os.Mkdir(target, info.Mode().Perm())
		case d.Type().IsRegular():
			return copyFile(path, target, info)
		}
		return nil // a socket
	})
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	err = out.Truncate(info.Size())
	for at := int64(0); err == nil; {
		var data int64
		if data, err = unix.Seek(int(in.Fd()), at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			err = nil // nothing but a hole follows
			break
		}
		if err == nil {
			at, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		}
		if err == nil {
			_, err = io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, at-data))
		}
	}
	return errors.Join(err, out.Close())
}

// Files lists the files of a directory and all beneath it, by their paths in it.
func Files(dir string) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since it was listed
		}
		if err == nil && d.Type().IsRegular() {
			path, _ = filepath.Rel(dir, path)
			names = append(names, path)
		}
		return err
	})
	return names, err
}

// Clock is the time on a computer: its wall clock, and the time since it was
// started. Both stand still until a test moves them.
type Clock struct {
	mu   sync.Mutex
	at   time.Time
	boot time.Duration
}

// NewClock returns a clock that shows a given time.
func NewClock(at time.Time) *Clock { return &Clock{at: at, boot: time.Hour} }

// Now reads the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Milli reads the clock in milliseconds since 1970, the unit of the store.
func (c *Clock) Milli() int64 { return c.Now().UnixMilli() }

// Boot returns the time since the computer was started.
func (c *Clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// Pass lets time pass: both the clock and the time since the start advance.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.boot += d
}

// Move sets the clock forward by d, or back if d is negative, as an
// administrator or a time server does. No time passes.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Set sets the clock. No time passes.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// Log holds what is written to it, and can be read at the same time. The zero
// Log is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns everything that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Take returns the lines that were written, and empties the log.
func (l *Log) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}
