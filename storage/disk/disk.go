// Package disk has what every other package of the store needs of a disk: files that are
// whole or not there, and the kinds of errors that a disk gives.
//
// It knows nothing of what is in the files, and never decides what to do about an error.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrDamaged says that a file, or a record in it, is not what was written.
var ErrDamaged = errors.New("damaged store")

// RestoreAdvice is what to do about a store whose files can't be used as they are.
const RestoreAdvice = `restore the newest backup over this directory with "gatehouse restore", which keeps the revocations that can still be read`

// WriteFile makes a file of mode 0600 that is whole or not there, and is on
// the disk when it returns. It replaces an older one, but nothing else: for
// root, a rename would put the file in the place of /dev/stdout.
func WriteFile(file string, b []byte) error {
	if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there, and is no regular file", file)
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes what was created, renamed or removed in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Exists reports whether there is something of that name.
func Exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// RemoveIfThere removes a file. One that does not exist is not an error.
func RemoveIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
