package export

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Format is how a file is written. It is the end of the file's name.
type Format string

// The formats.
const (
	AsCSV  Format = ".csv"
	AsJSON Format = ".json"
)

// FormatOf returns the format of a file, by its name. It refuses all other names: a person
// who may only look around in the terminal UI must not be able to write a file that
// programs obey, such as authorized_keys.
func FormatOf(path string) (Format, error) {
	switch f := Format(strings.ToLower(filepath.Ext(path))); f {
	case AsCSV, AsJSON:
		if strings.HasPrefix(filepath.Base(path), ".") {
			return "", errors.New("the name must not begin with a dot")
		}
		return f, nil
	}
	return "", errors.New("the name must end in .csv or .json")
}

// ErrExists says that a file of that name already exists.
var ErrExists = errors.New("there is such a file already: give another name")

// File writes a file that only its owner may read. It returns ErrExists if there is a file
// of that name. If write fails, nothing has changed.
func File(path string, write func(io.Writer) error) (err error) {
	switch _, err := os.Lstat(path); {
	case err == nil:
		return ErrExists
	case !errors.Is(err, fs.ErrNotExist):
		return plain(err)
	}
	// Write to another name first: a half-written file must not look complete.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return plain(err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := write(f); err != nil {
		return plain(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return plain(err)
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename, never over a file that came in between
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return plain(err)
	}
	os.Remove(f.Name())
	return nil
}

// plain leaves out the name of the file, which the reader has just typed.
func plain(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("the file can't be written: %w", p.Err)
	case errors.As(err, &l):
		return fmt.Errorf("the file can't be written: %w", l.Err)
	}
	return err
}
