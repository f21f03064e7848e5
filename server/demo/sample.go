package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gatehouse/storage"
	"gatehouse/storage/disk"
)

// Sample is a file for tokens, one a line. It takes its room before there are any tokens:
// nobody can read the tokens elsewhere, so a full disk must be found out before they are
// made. Until Write, an existing file of that name stays as it is.
type Sample struct {
	name string
	file *os.File // beside it, until it is written
}

const lineLen = 256 + 1 // a token and its end of line

// NewSample makes a sample of mode 0600 with room for a number of tokens. The caller closes it.
func NewSample(name string, tokens int) (*Sample, error) {
	s := &Sample{name: name}
	if err := s.open(tokens); err != nil {
		return nil, errors.Join(fmt.Errorf("%s can't be written: %w", name, disk.Nameless(err)), s.Close())
	}
	return s, nil
}

func (s *Sample) open(tokens int) (err error) {
	if info, err := os.Lstat(s.name); err == nil && !info.Mode().IsRegular() {
		return errors.New("it exists and is not a regular file")
	}
	if s.file, err = os.CreateTemp(filepath.Dir(s.name), "."+filepath.Base(s.name)+"-*"); err != nil {
		return err
	}
	if _, err := s.file.Write(bytes.Repeat([]byte("\n"), tokens*lineLen)); err != nil {
		return err
	}
	return s.file.Sync()
}

// Write writes the tokens.
func (s *Sample) Write(secrets []storage.Secret) error {
	var b bytes.Buffer
	for _, one := range secrets {
		b.WriteString(one.Reveal())
		b.WriteByte('\n')
	}
	if err := s.write(b.Bytes()); err != nil {
		return fmt.Errorf("%s was not written: %w", s.name, disk.Nameless(err))
	}
	return nil
}

func (s *Sample) write(text []byte) error {
	if _, err := s.file.WriteAt(text, 0); err != nil {
		return err
	}
	if err := s.file.Truncate(int64(len(text))); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	return os.Rename(s.file.Name(), s.name)
}

// Close closes the file, and removes what was not written.
func (s *Sample) Close() error {
	if s.file == nil {
		return nil
	}
	os.Remove(s.file.Name()) // does nothing after a rename
	return s.file.Close()
}

// Explain prints calls that work with a token; the last of them revokes it. Each line
// contains the token itself, so that it works in any shell, alone or not.
func Explain(w io.Writer, url string, token storage.Secret) error {
	for _, path := range []string{"getApiTokens", "token", "revokeApiToken"} {
		if _, err := fmt.Fprintf(w, "curl -H 'X-Auth-Token: %s' %s/api/%s\n", token.Reveal(), url, path); err != nil {
			return err
		}
	}
	return nil
}
