// Package textfile reads text as people really make it: configuration, secrets,
// certificates and passwords that were saved by an editor or sent by a shell. On Windows
// these put a byte-order mark in front, end lines with CRLF, or write UTF-16. It is the
// one reader of such text, so that a file that works in one place works in all.
//
// It never decides anything about what the text says.
package textfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// MaxFile is the size of the largest file that Read reads, in bytes.
const MaxFile = 4 << 20

var (
	errUTF16 = errors.New("the text is invalid UTF-16: save it as UTF-8")
	errUTF32 = errors.New("the text is UTF-32: save it as UTF-8")
)

// IsUTF16 reports whether the text begins with the byte-order mark of UTF-16, which is
// how UTF-32 in the byte order of today's machines begins, too.
func IsUTF16(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff"))
}

// Decode returns the text as UTF-8 without a byte-order mark. Text without a mark comes
// back as it is, whether it is UTF-8 or not.
func Decode(b []byte) ([]byte, error) {
	if !IsUTF16(b) {
		return bytes.TrimPrefix(b, []byte("\ufeff")), nil
	}
	if bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")) {
		return nil, errUTF32
	}
	text, err := io.ReadAll(Reader(bytes.NewReader(b)))
	if err != nil || bytes.Contains(text, []byte("\ufffd")) { // what the decoder puts for what it can't read
		return nil, errUTF16
	}
	return text, nil
}

// Reader returns a reader of what Decode returns, for text of any length. Invalid UTF-16
// is read as U+FFFD.
func Reader(r io.Reader) io.Reader { return &reader{from: r} }

type reader struct {
	from io.Reader
	text io.Reader // nil until the mark has been looked for
}

func (r *reader) Read(b []byte) (int, error) {
	if r.text == nil {
		mark := make([]byte, 3)
		n, err := io.ReadFull(r.from, mark)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		all := io.MultiReader(bytes.NewReader(mark[:n]), r.from)
		switch {
		case IsUTF16(mark[:n]):
			r.text = transform.NewReader(all, unicode.BOMOverride(transform.Nop))
		case string(mark[:n]) == "\ufeff":
			r.text = r.from
		default:
			r.text = all
		}
	}
	return r.text.Read(b)
}

// Read reads a file that Decode decodes. It refuses anything but a regular file: a pipe
// that nobody writes to would hold up the start of the server forever.
func Read(file string) ([]byte, error) {
	b, _, err := read(file, MaxFile)
	return b, err
}

// Open opens a regular file. It refuses anything else at once.
func Open(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if to, bad := os.Readlink(file); bad == nil {
			return nil, fmt.Errorf("%s is a symbolic link to %s: %w", file, to, os.ErrNotExist)
		}
	case errors.Is(err, syscall.ENXIO): // open(2), of a socket
		if info, bad := os.Stat(file); bad == nil && info.Mode()&os.ModeSocket != 0 {
			return nil, notRegular(file, info.Mode())
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(file, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notRegular(file string, m os.FileMode) error {
	return fmt.Errorf("%s is not a regular file but %s", file, kind(m))
}

func read(file string, limit int64) ([]byte, os.FileMode, error) {
	f, err := Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(b)) > limit {
		return nil, 0, fmt.Errorf("%s is longer than %d bytes", file, limit)
	}
	if b, err = Decode(b); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", file, err)
	}
	return b, info.Mode(), nil
}

func kind(m os.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&os.ModeNamedPipe != 0:
		return "a pipe"
	case m&os.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// ReadSecret reads a file with a secret on a single line, of at most 4 KiB. A group may
// read it, since root:gatehouse 0640 is how packages install secrets; others may not.
func ReadSecret(file string) (string, error) {
	const limit = 4 << 10
	b, mode, err := read(file, limit)
	if err != nil {
		return "", err
	}
	if mode.Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s has mode %s, open to every account of this machine: chmod 0600 it", file, mode)
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" || strings.ContainsAny(secret, "\r\n\x00") {
		return "", fmt.Errorf("%s does not contain a secret on a single line", file)
	}
	return secret, nil
}

// ErrTooLong is the error of ReadLine for a line that is longer than the limit.
var ErrTooLong = errors.New("the line is too long")

// ReadLine reads up to the first newline or the end, decodes it as Decode does, and
// returns it without the newline. It reads not a byte more: what follows belongs to the
// next reader. A line of more than limit bytes, decoded, is ErrTooLong; an end before any
// byte is io.EOF.
func ReadLine(r io.Reader, limit int) (string, error) {
	l := line{most: 2*limit + 6} // a byte takes at most two in UTF-16; a mark and CRLF
	b := make([]byte, 1)
	for {
		n, err := r.Read(b)
		if n == 1 && l.add(b[0]) {
			break
		}
		if errors.Is(err, io.EOF) && len(l.bytes) > 0 {
			break
		}
		if err != nil {
			return "", err
		}
		if len(l.bytes) > l.most {
			return "", ErrTooLong
		}
	}
	text, err := Decode(l.bytes)
	if err != nil {
		return "", err
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if len(s) > limit {
		return "", ErrTooLong
	}
	return s, nil
}

// line is what has been read of a line.
type line struct {
	bytes []byte
	most  int
}

// add takes the next byte, and reports whether the line is complete.
func (l *line) add(b byte) bool {
	l.bytes = append(l.bytes, b)
	if !IsUTF16(l.bytes) {
		return b == '\n'
	}
	n := len(l.bytes)
	if n%2 != 0 {
		return false
	}
	newline := "\n\x00"
	if l.bytes[0] == 0xfe {
		newline = "\x00\n"
	}
	return string(l.bytes[n-2:]) == newline
}
