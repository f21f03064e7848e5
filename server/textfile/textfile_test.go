package textfile

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"gatehouse/storage/storagetest/must"
)

// utf16Text is the text as Windows writes it, in either byte order.
func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// forms are the ways in which a text may be encoded.
func forms(text string) map[string]string {
	return map[string]string{
		"as it is":     text,
		"with a mark":  "\ufeff" + text,
		"UTF-16 LE":    utf16Text(binary.LittleEndian, text),
		"UTF-16 BE":    utf16Text(binary.BigEndian, text),
		"a CRLF":       strings.ReplaceAll(text, "\n", "\r\n"),
		"all of it":    "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"),
		"LE with CRLF": utf16Text(binary.LittleEndian, strings.ReplaceAll(text, "\n", "\r\n")),
		"BE with CRLF": utf16Text(binary.BigEndian, strings.ReplaceAll(text, "\n", "\r\n")),
	}
}

// TestForms reads a line, a secret and a file in every form. The letters of the last
// texts have bytes in UTF-16 that look like newlines.
func TestForms(t *testing.T) {
	for _, want := range []string{"pw5", "pässwörd", "パスワード", "👩‍👩‍👧", "Ċ", "ਊ਀Ā"} {
		for form, text := range forms(want + "\n") {
			file := filepath.Join(t.TempDir(), "file")
			must.Do(t, os.WriteFile(file, []byte(text), 0o600))
			if got, err := ReadSecret(file); err != nil || got != want {
				t.Errorf("%s: the secret is %q, %v, want %q", form, got, err, want)
			}
			if got, err := Read(file); err != nil || strings.TrimRight(string(got), "\r\n") != want {
				t.Errorf("%s: the file is %q, %v, want %q", form, got, err, want)
			}
			next := strings.TrimPrefix(form, "as it is") // what follows, in no particular form
			r := strings.NewReader(text + next)
			if got, err := ReadLine(r, 256); err != nil || got != want {
				t.Errorf("%s: the line is %q, %v, want %q", form, got, err, want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != next {
				t.Errorf("%s: the line took more than it is: %q is left of %q", form, rest, next)
			}
		}
		for form, text := range forms(want) {
			if got, err := ReadLine(strings.NewReader(text), 256); err != nil || got != want {
				t.Errorf("%s, no newline: the line is %q, %v, want %q", form, got, err, want)
			}
		}
	}
}

// TestReadLineLimit counts the bytes of the decoded line, not of its form.
func TestReadLineLimit(t *testing.T) {
	for form, text := range forms(strings.Repeat("a", 256) + "\n") {
		if got, err := ReadLine(strings.NewReader(text), 256); err != nil || len(got) != 256 {
			t.Errorf("%s: got %d bytes, %v", form, len(got), err)
		}
		if _, err := ReadLine(strings.NewReader(text), 255); err != ErrTooLong {
			t.Errorf("%s: got %v, want ErrTooLong", form, err)
		}
	}
	if _, err := ReadLine(endless{}, 256); err != ErrTooLong {
		t.Errorf("a line without an end: got %v", err)
	}
	if got, err := ReadLine(strings.NewReader(""), 256); err != io.EOF {
		t.Errorf("an end before any byte: got %q, %v", got, err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { b[0] = 'a'; return 1, nil }

// TestBroken: what is not text is refused with advice, and never changed.
func TestBroken(t *testing.T) {
	for _, c := range []struct{ what, text, want string }{
		{"half a character", "\xff\xfea", "save it as UTF-8"},
		{"half a pair", "\xff\xfe\x3d\xd8a\x00", "save it as UTF-8"},
		{"half a pair, the other order", "\xfe\xff\xd8\x3d\x00a", "save it as UTF-8"},
		{"UTF-32", "\xff\xfe\x00\x00a\x00\x00\x00", "UTF-32"},
	} {
		if got, err := Decode([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v, want %q", c.what, got, err, c.want)
		}
	}
	if got, err := Decode([]byte("caf\xe9")); err != nil || string(got) != "caf\xe9" { // a directory may want these bytes
		t.Errorf("Latin-1: got %q, %v", got, err)
	}
}

func TestReadSecret(t *testing.T) {
	for _, c := range []struct {
		what, text string
		mode       os.FileMode
		want       string
	}{
		{"a line", "s3cret\n", 0o600, ""},
		{"no newline", "s3cret", 0o640, ""},
		{"a blank in it", " s3 cret \n", 0o600, ""},
		{"open to all", "s3cret", 0o644, "open to every account"},
		{"empty", "\n", 0o600, "does not contain a secret on a single line"},
		{"only a mark", "\ufeff\r\n", 0o600, "does not contain a secret on a single line"},
		{"two lines", "a\nb\n", 0o600, "does not contain a secret on a single line"},
		{"a zero byte", "a\x00b\n", 0o600, "does not contain a secret on a single line"},
		{"too long", strings.Repeat("a", 5000), 0o600, "is longer than 4096 bytes"},
		{"broken", "\xff\xfea", 0o600, "save it as UTF-8"},
	} {
		file := filepath.Join(t.TempDir(), "secret")
		must.Do(t, os.WriteFile(file, []byte(c.text), c.mode))
		must.Do(t, os.Chmod(file, c.mode))
		_, err := ReadSecret(file)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v does not name the file", c.what, err)
		}
	}
}

// TestNoFile: only a regular file is read, and nothing waits.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	must.Do(t, syscall.Mkfifo(pipe, 0o600))
	socket, link := filepath.Join(dir, "socket"), filepath.Join(dir, "link")
	l := must.Get(net.Listen("unix", socket))(t)
	defer l.Close()
	must.Do(t, os.Symlink("none", link))
	for file, want := range map[string]string{
		pipe: "is not a regular file but a pipe", dir: "but a directory", "/dev/zero": "but a device", socket: "but a socket",
		filepath.Join(dir, "none"): "no such file", link: "link is a symbolic link to none: ",
	} {
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
		if _, err := ReadSecret(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s as a secret: got %v, want %q", file, err, want)
		}
	}
}
