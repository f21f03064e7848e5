package rekey_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/keys"
	"gatehouse/storage/rekey"
	"gatehouse/storage/storagetest/must"
)

// install makes the keys of an installation.
func install(t *testing.T) (ring, key string, first keys.Ring) {
	t.Helper()
	dir := t.TempDir()
	ring, key = filepath.Join(dir, "store", "keyring"), filepath.Join(dir, "key")
	must.Do(t, os.Mkdir(filepath.Dir(ring), 0o700))
	first, _ = must.Get2(rekey.Load(ring, key, keys.File{}, true))(t)
	return ring, key, first
}

func rotation(ring, key string) rekey.Rotation {
	return rekey.Rotation{
		Ring: ring, Key: key, Now: time.Date(2026, 11, 29, 13, 0, 0, 0, time.UTC),
		Change:   func(r keys.Ring) (keys.Ring, error) { return r.Rotated(1, 0) },
		Announce: func(keys.Ring) error { return nil },
	}
}

func run(t *testing.T, r rekey.Rotation) rekey.Result {
	t.Helper()
	done := must.Get(r.Run())(t)
	return done
}

func load(t *testing.T, ring, key string) (keys.Ring, string) {
	t.Helper()
	r, old := must.Get2(rekey.Load(ring, key, keys.File{}, false))(t)
	return r, old
}

func wantRing(t *testing.T, got, want keys.Ring) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got the keyring with the current key %d of %d, want %d of %d, or they have other keys", got.Current, len(got.Tokens), want.Current, len(want.Tokens))
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries := must.Get(os.ReadDir(dir))(t)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestRun(t *testing.T) {
	ring, key, first := install(t)
	before := must.Get(keys.ReadFile(key))(t)
	others := []string{".key-eu-123", ".key.old-20261128T130000Z.swp"}                                // of another store, and of an editor
	for _, litter := range append([]string{".key-123", ".key.old-20261128T130000Z-123"}, others...) { // two rotations were killed
		must.Do(t, before.Write(filepath.Join(filepath.Dir(key), litter)))
	}
	done := run(t, rotation(ring, key))
	got, old := load(t, ring, key)
	if wantRing(t, got, done.Ring); old != "" {
		t.Errorf("%s opened the keyring", old)
	}
	if got.Current != 2 || got.Root != first.Root || got.Tokens[1] != first.Tokens[1] {
		t.Error("the keyring is not the one from before with another key")
	}
	if done.Old != key+".old-20261129T130000Z" {
		t.Errorf("the old key is in %s", done.Old)
	}
	f, err := keys.ReadFile(done.Old)
	if err != nil || !f.Same(before) {
		t.Errorf("the old key is not the key from before: %v", err)
	}
	if f, err = keys.ReadFile(key); err != nil || f.Same(before) || f.ID() == before.ID() || !f.Same(done.Key) {
		t.Errorf("the key file has no new key: %v", err)
	}
	b := must.Get(os.ReadFile(ring))(t)
	if _, err := before.Open(ring, b); !errors.Is(err, keys.ErrWrong) {
		t.Errorf("the old key opens the keyring: %v", err)
	}

	// Within the same second.
	again := run(t, rotation(ring, key))
	if again.Old == done.Old || again.Ring.Current != 3 {
		t.Errorf("the second old key is in %s, and the current key is %d", again.Old, again.Ring.Current)
	}
	want := append(others, "key", filepath.Base(done.Old), filepath.Base(again.Old), "store")
	if got := names(t, filepath.Dir(key)); !slices.Equal(got, want) {
		t.Errorf("the directory has %v, want %v", got, want)
	}
	if list := rekey.Old(key); len(list) != 2 || list[0].Name() != again.Old {
		t.Errorf("the old keys are %v, the newest first", list)
	}
}

// Wherever the process stops, a key that is there opens the keyring from before or the new
// one, and the next rotation works.
func TestStopped(t *testing.T) {
	for stop := 0; ; stop++ {
		ring, key, first := install(t)
		second := run(t, rotation(ring, key)).Ring // so that there is an old key that does not help
		r, n, at := rotation(ring, key), 0, ""
		r.Step = func(done string) {
			if n == stop {
				at = done
				runtime.Goexit() // nothing is cleaned up
			}
			n++
		}
		var third keys.Ring
		r.Change = func(was keys.Ring) (keys.Ring, error) {
			wantRing(t, was, second)
			third, _ = was.Rotated(1, 7)
			return third, nil
		}
		ended := make(chan error, 1)
		go func() {
			defer close(ended)
			_, err := r.Run()
			ended <- err
		}()
		err := <-ended
		if err != nil {
			t.Fatal(err)
		}
		want := second
		if at == "" || at == "the keyring is sealed" {
			want = third
		}
		got, old := load(t, ring, key)
		wantRing(t, got, want)
		t.Logf("stopped when %q: current key %d, opened by %q", at, got.Current, old)
		got, old = load(t, ring, key)
		if wantRing(t, got, want); old != "" {
			t.Errorf("stopped when %s: loaded again, an old key still opens the keyring", at)
		}
		if next := run(t, rotation(ring, key)); next.Ring.Current != want.Current+1 || next.Ring.Root != first.Root {
			t.Errorf("stopped when %s: the next rotation gives the key %d", at, next.Ring.Current)
		}
		if at == "" {
			if stop < 5 {
				t.Errorf("there were only %d steps", stop)
			}
			return
		}
	}
}

// A rotation that fails leaves everything as it was.
func TestUndone(t *testing.T) {
	refused := errors.New("refused")
	for name, change := range map[string]func(r *rekey.Rotation){
		"no other keyring": func(r *rekey.Rotation) { r.Change = func(r keys.Ring) (keys.Ring, error) { return r, refused } },
		"no event":         func(r *rekey.Rotation) { r.Announce = func(keys.Ring) error { return refused } },
		"no room for the keyring": func(r *rekey.Rotation) {
			r.Announce = func(keys.Ring) error {
				if err := os.Rename(r.Ring, r.Ring+".kept"); err != nil {
					return err
				}
				return os.Mkdir(r.Ring, 0o700)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ring, key, first := install(t)
			r := rotation(ring, key)
			change(&r)
			if _, err := r.Run(); err == nil {
				t.Fatal("it succeeded")
			}
			if kept := ring + ".kept"; name == "no room for the keyring" {
				// What is there in place of the keyring can't be read: both keys stay.
				must.Do(t, errors.Join(os.Remove(ring), os.Rename(kept, ring)))
			} else if got := names(t, filepath.Dir(key)); !slices.Equal(got, []string{"key", "store"}) {
				t.Errorf("the directory has %v", got)
			}
			got, _ := load(t, ring, key)
			wantRing(t, got, first)
		})
	}
}

// A key file that is a link stays one.
func TestLink(t *testing.T) {
	ring, key, _ := install(t)
	link := filepath.Join(t.TempDir(), "key")
	must.Do(t, os.Symlink(key, link))
	done := run(t, rotation(ring, link))
	if !strings.HasPrefix(done.Old, key) {
		t.Errorf("the old key is in %s, and the key in %s", done.Old, key)
	}
	if to, err := os.Readlink(link); err != nil || to != key {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	got, _ := load(t, ring, link)
	wantRing(t, got, done.Ring)
}

// A directory that takes no new file is refused before anything changes, and the error
// says where to read on.
func TestReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	const nobody = 65534
	ring, key, first := install(t)
	dir := t.TempDir()
	away := filepath.Join(dir, "key")
	f, err := keys.ReadFile(key)
	if err == nil {
		err = errors.Join(f.Write(away), os.Chown(away, nobody, nobody), os.Chown(ring, nobody, nobody),
			os.Chmod(filepath.Dir(ring), 0o755), os.Chmod(filepath.Dir(key), 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	refused := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends
		unix.SetfsuidRetUid(nobody)
		unix.SetfsgidRetGid(nobody)
		_, err := rotation(ring, away).Run()
		refused <- err
	}()
	if err := <-refused; !errors.Is(err, rekey.ErrReadOnly) || !strings.Contains(err.Error(), away) || !strings.Contains(err.Error(), "gatehouse manual security") {
		t.Errorf("got %v, want %v", err, rekey.ErrReadOnly)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"key"}) {
		t.Errorf("the directory has %v", got)
	}
	got, _ := load(t, ring, key)
	wantRing(t, got, first)
}
