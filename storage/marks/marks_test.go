package marks_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/marks"
	"gatehouse/storage/storagetest/must"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// Only a directory without any file of a store is that of a new store. Creating goes on
// after a crash.
func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	for _, step := range []string{"no directory", "a crash while it was created"} {
		if fresh, err := marks.In(dir).MarkIfNew(); !fresh || err != nil {
			t.Fatalf("%s: got %t, %v", step, fresh, err)
		}
	}
	d := marks.In(dir)
	if err := d.SetFormat(); err != nil || !d.Current() || disk.Exists(filepath.Join(dir, "new")) {
		t.Fatalf("got %v, and current %t", err, d.Current())
	}
	for _, file := range []string{"format", "key", "new"} {
		other := t.TempDir()
		write(t, other, file, marks.Format)
		if fresh, err := marks.In(other).MarkIfNew(); fresh != (file == "new") || err != nil {
			t.Errorf("a directory with the file %s alone: got %t, %v", file, fresh, err)
		}
	}
}

func TestCheckFormat(t *testing.T) {
	for _, test := range []struct {
		content          string
		current, refused bool
	}{
		{marks.Format, true, false},
		{marks.Format + "\n", true, false},
		{marks.FormerFormat + "\n", false, false},
		{"", false, true},
		{"1", false, true},
		{"4", false, true},
		{"3\x00", false, true},
	} {
		dir := t.TempDir()
		write(t, dir, "format", test.content)
		d := marks.In(dir)
		err := d.CheckFormat()
		if (err != nil) != test.refused || err == nil && d.Current() != test.current {
			t.Errorf("%q: got %v, and current %t", test.content, err, d.Current())
		}
		if err != nil && !strings.Contains(err.Error(), filepath.Join(dir, "format")) {
			t.Errorf("%q: the error does not name the file: %v", test.content, err)
		}
	}
	if d := marks.In(t.TempDir()); d.CheckFormat() != nil || d.Current() {
		t.Error("a missing file is an error, or a format")
	}
}

func TestRestored(t *testing.T) {
	d := marks.In(t.TempDir())
	if d.IsRestored() {
		t.Error("an empty directory is that of a restored store")
	}
	if _, err := d.Restored(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, want := range []marks.Restored{
		{After: 7},
		{},
		{End: journal.Position{Sequence: 9, Hash: [32]byte{1, 31: 2}}},
	} {
		if err := d.SetRestored(want); err != nil || !d.IsRestored() {
			t.Fatal(err)
		}
		if got, err := d.Restored(); got != want || err != nil {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if err := errors.Join(d.ClearRestored(), d.ClearRestored()); err != nil || d.IsRestored() {
		t.Errorf("got %v", err)
	}
	for _, content := range []string{"", "nine", "-1", "9:"} {
		dir := t.TempDir()
		write(t, dir, "restored", content)
		if r, err := marks.In(dir).Restored(); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("%q: got %v, %v", content, r, err)
		}
	}
}

// The time of the first start after a restore is noted once. One that was not noted with
// the store's key is not believed.
func TestFirstStart(t *testing.T) {
	dir, seals := t.TempDir(), keys.Ring{Root: [32]byte{1}}.Seals()
	d := marks.In(dir)
	want := func(step string, ms int64, known bool) {
		t.Helper()
		if got, ok := d.FirstStart(seals); got != ms || ok != known {
			t.Errorf("%s: got %d, %t, want %d, %t", step, got, ok, ms, known)
		}
	}
	note := func(ms int64) {
		t.Helper()
		must.Do(t, d.NoteFirstStart(seals, ms))
	}
	note(1)
	want("a store that was not restored", 0, true)
	must.Do(t, d.SetRestored(marks.Restored{After: 7}))
	note(2)
	want("restored", 2, true)
	must.Do(t, d.ClearRestored())
	note(3)
	want("a later start", 2, true)
	must.Do(t, d.ExpectFirstStart())
	want("before the first start", 0, false)
	note(4)
	want("the first start", 4, true)
	seals = keys.Ring{Root: [32]byte{2}}.Seals()
	want("another key", 0, false)
	write(t, dir, "restored-at", "0")
	want("a damaged file", 0, false)
}

func TestLastBackup(t *testing.T) {
	dir := t.TempDir()
	d := marks.In(dir)
	if ms := d.LastBackup(); ms != 0 {
		t.Errorf("got %d before the first backup", ms)
	}
	if err := d.NoteBackup(5); err != nil || d.LastBackup() != 5 {
		t.Errorf("got %d, %v", d.LastBackup(), err)
	}
	write(t, dir, "backed-up", "yesterday")
	if ms := d.LastBackup(); ms != 0 {
		t.Errorf("got %d from a damaged file", ms)
	}
}

// What a crash has left of files being written goes; all others stay.
func TestRemoveRemains(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".checkpoint-123", ".table-4", "checkpoint", ".hidden"} {
		write(t, dir, name, "")
	}
	marks.In(dir).RemoveRemains()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != ".hidden" || entries[1].Name() != "checkpoint" {
		t.Errorf("got %v, %v", entries, err)
	}
}
