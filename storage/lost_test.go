package storage_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// oneOfEach makes a store with one end of each kind, and with every kind of file.
func oneOfEach(t *testing.T, opts storage.Options, clock *storagetest.Clock) (dir string, want answers, secrets []string) {
	t.Helper()
	_, newer, secrets, _ := twoGenerations(t, opts, clock, false)
	return newer.stopped, newer.answers, secrets
}

// However little is left of a store, it is never taken for a first start, which
// would put an empty store in its place. It opens with everything, or is refused
// with advice, and the remaining files stay.
func TestRemainsEachWay(t *testing.T) {
	eachWay(t)
	clock := newClock()
	opts := timed(t, clock)
	dir, want, secrets := oneOfEach(t, opts, clock)
	entries := must.Get(os.ReadDir(filepath.Join(dir, "store")))(t)
	var names []string
	for _, e := range entries {
		if e.Name() != "ballast" {
			names = append(names, e.Name())
		}
	}
	for which := 1; which < 1<<len(names); which++ {
		if !tries(which) {
			continue
		}
		var left []string
		at := copyDir(t, dir)
		for n, name := range names {
			if which>>n&1 != 0 {
				left = append(left, name)
			} else if err := os.RemoveAll(filepath.Join(at, "store", name)); err != nil {
				t.Fatal(err)
			}
		}
		must.Do(t, os.RemoveAll(filepath.Join(at, "store", "ballast")))
		t.Run(strings.Join(left, ", "), func(t *testing.T) {
			opts.Early = which%2 == 0
			refused := wantRight(t, at, opts, want, secrets)
			if refused == (slices.Contains(left, "keyring") && slices.Contains(left, "journal")) {
				t.Errorf("refused: %t; keyring and journal are enough, and both are necessary", refused)
			}
			if !refused {
				return
			}
			for _, name := range left {
				if name != "index" && !disk.Exists(filepath.Join(at, "store", name)) {
					t.Errorf("%s is gone", name)
				}
			}
			if !slices.Contains(left, "keyring") && disk.Exists(filepath.Join(at, "store", "keyring")) {
				t.Error("a keyring was made")
			}
		})
	}
}
