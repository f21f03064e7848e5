package keys

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"gatehouse/storage/disk"
)

// A File is a key file that has been read. Its key opens a keyring.
type File struct {
	name    string
	key     [32]byte
	written time.Time
}

// CheckFile returns an error if no key can be read from the file. A file that does
// not exist is not an error: the first start makes it.
func CheckFile(name string) error {
	_, err := ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadFile reads 64 hexadecimal characters from a file that nobody else can read. It
// returns [ErrExposed], [ErrWrong], or [ErrMissing] for a symbolic link that leads
// nowhere. A credential that systemd passes may have permission bits for the group:
// they are the mask of an access list (systemd.exec(5)).
func ReadFile(name string) (File, error) {
	f, err := openFile(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	forbidden := fs.FileMode(0o077)
	if d := os.Getenv("CREDENTIALS_DIRECTORY"); d != "" && filepath.Dir(name) == filepath.Clean(d) {
		forbidden = 0o007
	}
	if info.Mode().Perm()&forbidden != 0 {
		return File{}, fmt.Errorf("%w: %s has mode %04o, so others can read it: chmod 600 %s, and consider whether it has leaked",
			ErrExposed, name, info.Mode().Perm(), name)
	}
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return File{}, err
	}
	// An editor or a shell on Windows may have added a byte-order mark, or written
	// UTF-16.
	if b, _, err = transform.Bytes(unicode.BOMOverride(transform.Nop), b); err != nil {
		return File{}, fmt.Errorf("read %s: %w", name, err)
	}
	parsed, err := parseFile(name, strings.TrimSpace(string(b)))
	parsed.written = info.ModTime()
	return parsed, err
}

func parseFile(name, text string) (File, error) {
	f := File{name: name}
	if len(text) == 2*len(f.key) {
		if _, err := hex.Decode(f.key[:], []byte(text)); err == nil {
			return f, nil
		}
	}
	return File{}, fmt.Errorf("%w: %s must contain 64 hexadecimal characters: put back the key that the store was made with", ErrWrong, name)
}

// openFile opens a regular file. It refuses anything else without waiting: a pipe
// without a writer would block the start forever.
func openFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if to, link := os.Readlink(name); link == nil && errors.Is(err, fs.ErrNotExist) { // do not make a key in its place
		return nil, fmt.Errorf("%w: %s is a symbolic link to %s, which does not exist", ErrMissing, name, to)
	}
	if err != nil && !errors.Is(err, unix.ENXIO) { // ENXIO means a socket, see open(2)
		return nil, err
	}
	info, err := os.Stat(name)
	if f != nil {
		info, err = f.Stat()
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file but %s", ErrWrong, name, kindOf(info.Mode()))
	}
	if err != nil && f != nil {
		f.Close()
	}
	return f, err
}

// kindOf names the kind of a file that is not a regular file.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// NewFile returns a new key for the file with that name. [File.Write] writes it.
func NewFile(name string) File {
	f := File{name: name}
	rand.Read(f.key[:])
	return f
}

// Name returns the name of the file that the key was read from.
func (f File) Name() string { return f.name }

// Written returns when the file was last written.
func (f File) Written() time.Time { return f.written }

// Same reports whether two files hold the same key.
func (f File) Same(g File) bool { return f.key == g.key }

// ID returns a name for the key, by which people tell it from others. It says nothing
// about the key.
func (f File) ID() string {
	b, err := hkdf.Key(sha256.New, f.key[:], nil, "gatehouse id of a key file", 4)
	if err != nil {
		panic(err) // happens only for a length beyond 255 hashes
	}
	return hex.EncodeToString(b)
}

// Write writes the key to a file, in the place of any other that is there.
func (f File) Write(name string) error {
	return disk.WriteFile(name, []byte(hex.EncodeToString(f.key[:])+"\n"))
}

func makeFile(name string) (File, error) {
	f := NewFile(name)
	if err := f.Write(name); err != nil {
		return File{}, fmt.Errorf("make the key file: %w", err)
	}
	return f, nil
}
