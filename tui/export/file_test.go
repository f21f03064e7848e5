package export

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage/storagetest/must"
)

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{
		"a.csv": AsCSV, "dir/B.JSON": AsJSON, "tokens": "", "a.csv.sh": "", ".csv": "", "../.x.json": "",
		"/root/.ssh/authorized_keys": "", "": "", "a.json ": "", "a\x00.csv": AsCSV, // the system refuses the last
	} {
		if got, err := FormatOf(name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
}

// TestFile is the table of what may stand where a file is to be written.
func TestFile(t *testing.T) {
	for _, c := range []struct {
		name  string
		there func(path string) error // makes what is there
		fails error                   // of writing
		want  string
		ok    bool
	}{
		{"nothing", nil, nil, "new", true},
		{"a file", file, nil, "old", false},
		{"nothing, broken off", nil, os.ErrClosed, "", false},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o700) }, nil, "", false},
		{"a link", func(p string) error { return os.Symlink(filepath.Dir(p)+"/elsewhere", p) }, nil, "", false},
		{"no directory", func(p string) error { return os.Remove(filepath.Dir(p)) }, nil, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			must.Do(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "out.csv")
			if c.there != nil {
				must.Do(t, c.there(path))
			}
			err := File(path, func(w io.Writer) error {
				if c.fails != nil {
					w.(*os.File).Close()
				}
				_, err := io.WriteString(w, "new")
				return err
			})
			if (err == nil) != c.ok || !errors.Is(err, c.fails) && c.fails != nil || err != nil && strings.Contains(err.Error(), dir) {
				t.Errorf("got %v", err)
			}
			if got, _ := os.ReadFile(path); string(got) != c.want {
				t.Errorf("the file has %q, want %q", got, c.want)
			}
			info, err := os.Stat(path)
			if c.want == "new" && (err != nil || info.Mode().Perm() != 0o600) {
				t.Errorf("its mode is %v, %v", info.Mode(), err)
			}
			left, _ := os.ReadDir(dir)
			for _, e := range left {
				if e.Name() != "out.csv" {
					t.Errorf("%s is left", e.Name())
				}
			}
		})
	}
}

func file(path string) error { return os.WriteFile(path, []byte("old"), 0o644) }

// TestTwoAtOnce: of two that write the same new file, one is refused.
func TestTwoAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	err := File(path, func(io.Writer) error {
		return File(path, func(w io.Writer) error {
			_, err := io.WriteString(w, "first")
			return err
		})
	})
	if got, _ := os.ReadFile(path); !errors.Is(err, ErrExists) || string(got) != "first" {
		t.Errorf("%v, and the file has %q", err, got)
	}
}
