package storage_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// harm is damage to a file of a store, or to its key.
type harm struct {
	name string
	do   func(t *testing.T, dir string)
	said bool // a restore reports that it could not read a part of the older store
	lost bool // nothing is left that records the ends since the backup
}

// altered returns a harm that changes the content of a file.
func altered(name string, fn func(b []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, file := range matching(t, dir, name) {
			b := must.Get(os.ReadFile(file))(t)
			must.Do(t, os.WriteFile(file, fn(b), 0o600))
		}
	}
}

func matching(t *testing.T, dir, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, name))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no such file: %v", name, err)
	}
	return files
}

func removed(names ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		for _, name := range names {
			for _, file := range matching(t, dir, name) {
				must.Do(t, os.RemoveAll(file))
			}
		}
	}
}

func emptied(name string) func(*testing.T, string) {
	return altered(name, func([]byte) []byte { return nil })
}

func halved(name string) func(*testing.T, string) {
	return altered(name, func(b []byte) []byte { return b[:len(b)/2] })
}

// flippedAt flips a bit at a given fraction of a file's content.
func flippedAt(name string, part float64) func(*testing.T, string) {
	return altered(name, func(b []byte) []byte {
		if used := len(bytes.TrimRight(b, "\x00")); used > 0 {
			b[int(part*float64(used-1))] ^= 4
		}
		return b
	})
}

func saying(name, s string) func(*testing.T, string) {
	return altered(name, func([]byte) []byte { return []byte(s) })
}

func harms() (list []harm) {
	for what, names := range map[string][]string{
		"key":        {"key"},
		"keyring":    {"store/keyring"},
		"journal":    {"store/journal/*.seg"},
		"checkpoint": {"store/checkpoint"},
		"table":      {"store/table"},
		"uses":       {"store/uses/*"},
		"format":     {"store/format"},
	} {
		said := what == "journal" // the index still has the ends
		for _, name := range names {
			list = append(list, harm{what + " empty", emptied(name), said, false}, harm{what + " missing", removed(name), said, false})
			if what == "uses" {
				continue // may be empty
			}
			list = append(list, harm{what + " cut off", halved(name), said, false})
			for _, part := range []float64{0, 0.3, 0.6, 1} {
				list = append(list, harm{what + " flipped", flippedAt(name, part), said, false})
			}
		}
	}
	return append(list,
		harm{name: "key of another store", do: saying("key", strings.Repeat("ab", 32)+"\n")},
		harm{name: "key exposed", do: func(t *testing.T, dir string) {
			must.Do(t, os.Chmod(filepath.Join(dir, "key"), 0o644))
		}},
		harm{name: "journal directory missing", do: removed("store/journal"), said: true},
		harm{name: "journal and checkpoint missing", do: removed("store/journal", "store/checkpoint"), said: true},
		harm{name: "last segment missing", do: func(t *testing.T, dir string) {
			segments := matching(t, dir, "store/journal/*.seg")
			for _, file := range segments[max(0, len(segments)-2):] { // the last segment, and the reserve
				must.Do(t, os.Remove(file))
			}
		}},
		harm{name: "index missing", do: removed("store/index")},
		harm{name: "index and checkpoint missing", do: removed("store/index", "store/checkpoint")},
		harm{name: "a format to come", do: saying("store/format", "3\n")},
		harm{name: "keyring and journal missing", do: removed("store/keyring", "store/journal")},
		harm{name: "all but the keyring missing", do: removed("store/journal", "store/index", "store/checkpoint", "store/table", "store/format", "store/uses"), said: true, lost: true},
		harm{name: "journal and index missing", do: removed("store/journal", "store/index"), said: true, lost: true},
	)
}

// The advice in the error of a refused store helps: afterwards the store works,
// and nothing that had ended is valid again, as far as the ends can still be
// read.
func TestAdviceEachWay(t *testing.T) {
	eachWay(t)
	clock := newClock()
	opts := timed(t, clock)
	opts.Segment = 8 << 10
	_, newer, secrets, backup := twoGenerations(t, opts, clock, false)
	for how, base := range map[string]string{"stopped": newer.stopped, "killed": newer.killed} {
		for n, h := range harms() {
			if !tries(n) {
				continue
			}
			t.Run(how+"/"+h.name, func(t *testing.T) {
				dir := copyDir(t, base)
				h.do(t, dir)
				err := openedWell(t, dir, opts, newer.answers, secrets)
				if err == nil {
					return // it was harmless
				}
				followAdvice(t, err, h, dir, base, opts, newer.answers, secrets, backup)
			})
		}
	}
}

// openedWell opens a store, which must give right answers unless it is refused.
func openedWell(t *testing.T, dir string, opts storage.Options, want answers, secrets []string) error {
	t.Helper()
	s, err := storage.Open(dir, opts)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Opened(t.Context()); err != nil {
		return err
	}
	if d := answersOf(t, s, secrets).differs(want); d != "" {
		t.Error(d)
	}
	return nil
}

// followAdvice follows each piece of advice in a message, each in its own copy
// of the store.
func followAdvice(t *testing.T, said error, h harm, dir, base string, opts storage.Options, want answers, secrets []string, backup []byte) {
	t.Helper()
	text := said.Error()
	followed := false
	if strings.Contains(text, "put it back") || strings.Contains(text, "put back") {
		followed = true
		if err := openedWell(t, copyDir(t, base), opts, want, secrets); err != nil {
			t.Errorf("with the file put back: %v", err)
		}
	}
	if strings.Contains(text, "chmod 600") {
		followed = true
		must.Do(t, os.Chmod(filepath.Join(dir, "key"), 0o600))
		if err := openedWell(t, dir, opts, want, secrets); err != nil {
			t.Errorf("after chmod: %v", err)
		}
	}
	if strings.Contains(text, "gatehouse restore") {
		followed = true
		restoredRight(t, h, dir, opts, want, secrets, backup)
	}
	if !followed {
		t.Errorf("refused without advice that can be followed: %v", said)
	}
}

func restoredRight(t *testing.T, h harm, dir string, opts storage.Options, want answers, secrets []string, backup []byte) {
	t.Helper()
	r, err := storage.Restore(t.Context(), bytes.NewReader(backup), dir, opts)
	if err != nil {
		t.Fatalf("the restore that was advised: %v", err)
	}
	if h.said && len(r.Unread) == 0 {
		t.Error("it is not said what could not be read")
	}
	s := openWith(t, dir, opts)
	must.Do(t, s.Opened(t.Context()))
	for _, secret := range secrets {
		_, err := s.Inspect(secret, home.Address)
		if err != nil && !errors.Is(err, storage.ErrRefused) {
			t.Fatal(err)
		}
		if err == nil && !want.live[secret] && !h.lost {
			t.Errorf("token %s is back", secret[:28])
		}
	}
	u := must.Get(s.User("alice@example.com"))(t)
	_, secret := create(t, s, u)
	wantLive(t, s, secret)
	stopped(t, s)
	wantLive(t, openWith(t, dir, opts), secret)
}
