package datadir

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestBackupsInOneSecond: each backup has a name of its own, and the oldest go first.
func TestBackupsInOneSecond(t *testing.T) {
	store, err := storage.Open(filepath.Join(t.TempDir(), "data"), storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := Dir{Path: store.Dir(), Messages: io.Discard}
	must.Do(t, store.Close())
	into, now := t.TempDir(), time.Date(2026, 11, 29, 2, 30, 0, 0, time.UTC)
	names := func() (list []string) {
		entries := must.Get(os.ReadDir(into))(t)
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	var made string
	for _, later := range []time.Duration{0, 0, 0, time.Second} {
		if made, _, err = d.BackupInto(t.Context(), into, now.Add(later)); err != nil {
			t.Fatal(err)
		}
	}
	const first, next = "gatehouse-20261129T023000Z", "gatehouse-20261129T023001Z"
	if got, want := names(), []string{first, first + ".2", first + ".3", next}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	// Two backups never got their names: one was killed long ago, one is being written.
	killed, underway := filepath.Join(into, "."+first+"-17"), filepath.Join(into, "."+first+".2-18")
	for _, name := range []string{killed, underway} {
		must.Do(t, os.WriteFile(name, nil, 0o600))
	}
	must.Do(t, os.Chtimes(killed, now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 0)))
	must.Do(t, KeepNewest(into, 2, made))
	if got, want := names(), []string{filepath.Base(underway), first + ".3", next}; !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
}
