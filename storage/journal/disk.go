package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A Disk is the directory as the journal sees it. It exists so that tests can
// lose writes, fail syncs and fill the disk: see package journaltest.
type Disk interface {
	// Names lists the files.
	Names() ([]string, error)
	// Create makes a new, empty file for reading and writing, mode 0600.
	Create(name string) (File, error)
	// Open opens an existing file with os.O_RDONLY or os.O_RDWR.
	Open(name string, flag int) (File, error)
	// Remove unlinks a file. Open handles of it go on working.
	Remove(name string) error
	// Sync makes creations and removals durable.
	Sync() error
	// Close closes the directory and releases its lock.
	Close() error
}

// A File is one segment on a Disk.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Allocate gives a new or blank file its size, with space on the disk for
	// every byte of it, all of them reading as zero.
	Allocate(size int64) error
	// Size returns the file's length in bytes.
	Size() (int64, error)
	// Sync makes everything written durable.
	Sync() error
}

// directory is a Disk in the file system. It locks the directory, so that two
// processes can't append to one journal.
type directory struct {
	path   string
	handle *os.File
	spare  spare
}

func openDirectory(path string) (*directory, error) {
	handle, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrEmpty)
	}
	if err != nil {
		return nil, err
	}
	if err := lock(handle); err != nil {
		handle.Close()
		return nil, err
	}
	d := &directory{path: path, handle: handle, spare: spare{dir: handle}}
	d.spare.fill()
	return d, nil
}

// makeDirectory also makes the directory's name durable. Otherwise a power
// failure could remove the directory from its parent, with everything in it.
func makeDirectory(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

func (d *directory) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

func (d *directory) Create(name string) (File, error) {
	path := filepath.Join(d.path, name)
	d.spare.fill()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if tooManyOpen(err) && d.spare.release() {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, err
	}
	// A strict umask may have taken even the owner's rights away.
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return nil, err
	}
	return file{f, d}, nil
}

func (d *directory) Open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), flag, 0)
	if err != nil {
		return nil, err
	}
	return file{f, d}, nil
}

func (d *directory) Remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }
func (d *directory) Sync() error              { return d.handle.Sync() }

func (d *directory) Close() error { return d.spare.close() }

type file struct {
	*os.File
	dir *directory
}

// Close refills the spare with the descriptor, if the spare was used.
func (f file) Close() error {
	err := f.File.Close()
	f.dir.spare.fill()
	return err
}

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Allocate(size int64) error { return allocate(f.File, size) }
func (f file) Sync() error               { return datasync(f.File) }

// writeZeros also allocates the space, for file systems that have no call for
// that.
func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 256<<10)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}
