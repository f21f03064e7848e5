package keys_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
)

// fresh makes the keys of a new installation.
func fresh(t *testing.T) (ring, key string, whole keys.Ring) {
	t.Helper()
	dir := t.TempDir()
	ring, key = filepath.Join(dir, "keyring"), filepath.Join(dir, "key")
	whole = must.Get(keys.Load(ring, key, keys.Make))(t)
	return ring, key, whole
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b := must.Get(os.ReadFile(file))(t)
	return b
}

func readKey(t *testing.T, file string) keys.File {
	t.Helper()
	f := must.Get(keys.ReadFile(file))(t)
	return f
}

// A flipped bit in the keyring is harmless, or the error says what to do.
func TestKeyringFlipped(t *testing.T) {
	ring, key, whole := fresh(t)
	b, f := read(t, ring), readKey(t, key)
	right := 0
	for offset := range b {
		for bit := range 8 {
			b[offset] ^= 1 << bit
			got, err := f.Open(ring, b)
			b[offset] ^= 1 << bit
			switch {
			case err == nil && fmt.Sprint(got) != fmt.Sprint(whole):
				t.Errorf("byte %d, bit %d: other keys", offset, bit)
			case err == nil:
				right++
			case !errors.Is(err, disk.ErrDamaged) || !strings.Contains(err.Error(), ring) || !strings.Contains(err.Error(), "restore"):
				t.Errorf("byte %d, bit %d: got %v", offset, bit, err)
			}
		}
	}
	if right == 0 || right == 8*len(b) {
		t.Errorf("%d of %d flips were harmless", right, 8*len(b))
	}
	for _, n := range []int{0, 1, len(b) / 2, len(b) - 1} {
		if _, err := f.Open(ring, b[:n]); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("cut off after %d bytes: got %v", n, err)
		}
	}
	_, other, _ := fresh(t)
	if _, err := readKey(t, other).Open(ring, b); !errors.Is(err, keys.ErrWrong) || !strings.Contains(err.Error(), other) {
		t.Errorf("with another key: got %v, want %v that names the file", err, keys.ErrWrong)
	}
}

// TestLoad: keys are made only for a fresh installation, and never replace existing
// ones.
func TestLoad(t *testing.T) {
	for name, c := range map[string]struct {
		remove []string
		fresh  bool
		want   error
	}{
		"all there":                     {},
		"all there, fresh":              {fresh: true},
		"no key":                        {remove: []string{"key"}, want: keys.ErrMissing},
		"no key, fresh":                 {remove: []string{"key"}, fresh: true, want: keys.ErrMissing},
		"no keyring":                    {remove: []string{"keyring"}, want: disk.ErrDamaged},
		"neither":                       {remove: []string{"key", "keyring"}, want: keys.ErrMissing},
		"key of an administrator's":     {remove: []string{"keyring"}, fresh: true},
		"neither, which is a new store": {remove: []string{"key", "keyring"}, fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			ring, key, whole := fresh(t)
			before := read(t, key)
			for _, gone := range c.remove {
				must.Do(t, os.Remove(filepath.Join(filepath.Dir(ring), gone)))
			}
			got, err := keys.Load(ring, key, keys.Missing(c.fresh))
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil {
				for _, gone := range c.remove {
					if disk.Exists(filepath.Join(filepath.Dir(ring), gone)) {
						t.Errorf("%s was made", gone)
					}
				}
				return
			}
			if same := fmt.Sprint(got) == fmt.Sprint(whole); same != (len(c.remove) == 0) {
				t.Errorf("the same keys: %t", same)
			}
			if len(c.remove) == 1 && string(read(t, key)) != string(before) {
				t.Error("the key file was changed")
			}
			again, err := keys.Load(ring, key, keys.Refuse)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
				t.Errorf("read again: %v, and other keys than before", err)
			}
		})
	}
}

// TestExposed: a key file that anybody but its owner may read or write is refused. Only
// the group may read one that systemd passes, and then only that one.
func TestExposed(t *testing.T) {
	_, key, _ := fresh(t)
	elsewhere := t.TempDir()
	for credentials, taken := range map[string][]os.FileMode{"": {0o600, 0o400}, elsewhere: {0o600, 0o400}, filepath.Dir(key) + "/": {0o600, 0o400, 0o440, 0o640}} {
		t.Setenv("CREDENTIALS_DIRECTORY", credentials)
		for _, mode := range []os.FileMode{0o600, 0o400, 0o440, 0o640, 0o404, 0o604, 0o602, 0o444} {
			must.Do(t, os.Chmod(key, mode))
			_, err := keys.ReadFile(key)
			if slices.Contains(taken, mode) && err != nil || !slices.Contains(taken, mode) && !errors.Is(err, keys.ErrExposed) {
				t.Errorf("mode %04o, credentials in %q: got %v", mode, credentials, err)
			}
		}
	}
}

// A password hash opens only for its user, and only unchanged.
func TestPasswords(t *testing.T) {
	_, _, ring := fresh(t)
	p := ring.Passwords()
	sealed := p.Seal(7, "hash")
	if got, err := p.Open(7, sealed); err != nil || got != "hash" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := p.Open(7, nil); err != nil || got != "" {
		t.Errorf("without a password: got %q, %v", got, err)
	}
	if _, err := p.Open(8, sealed); !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("for another user: got %v", err)
	}
	for n := 1; n < len(sealed); n++ {
		if _, err := p.Open(7, sealed[:n]); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("cut to %d bytes: got %v", n, err)
		}
	}
}

// A record opens only under its key, and only unchanged.
func TestSeals(t *testing.T) {
	_, _, ring := fresh(t)
	s := ring.Seals()
	stored := s.Seal([]byte("key"), []byte("value"))
	if got, err := s.Open([]byte("key"), stored); err != nil || string(got) != "value" || len(stored) != keys.SealSize+len(got) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := s.Open([]byte("keyv"), append(stored[:keys.SealSize:keys.SealSize], "alue"...)); !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("a byte of the value moved to the key: got %v", err)
	}
	for at := range stored {
		stored[at] ^= 1
		if _, err := s.Open([]byte("key"), stored); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("byte %d flipped: got %v", at, err)
		}
		stored[at] ^= 1
	}
	for n := range stored {
		if _, err := s.Open([]byte("key"), stored[:n]); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("cut to %d bytes: got %v", n, err)
		}
	}
}
