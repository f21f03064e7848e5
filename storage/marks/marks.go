// Package marks reads and writes the small files of a store's directory that say what
// the directory is:
//
//	new          a store is being created here
//	format       the version of the other files
//	restored     a restore has left only journal and checkpoint, and how far the journal goes
//	restored-at  when that store was first opened
//	backed-up    when the last backup was made
//
// It owns these files. It never opens the other files, and never decides what to do with
// the store.
package marks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
)

// Format is the version of the files in a store's directory. It goes up when a release
// writes something that the release before can't read: TestEncodings of package storage
// fails then.
//
//	2  the first that this program reads
//	3  notices, what is known of a token, and sightings
const (
	Format       = "3"
	FormerFormat = "2" // this program converts it
)

// Dir is the directory of a store.
type Dir struct {
	path   string
	format string // of the existing store; empty: unknown
}

// In returns the marks in the directory of a store, which need not exist.
func In(store string) *Dir { return &Dir{path: store} }

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// MarkIfNew marks the directory as that of a store being created if there is no store in it,
// and reports whether that is so. Any file of a store counts as a store: a missing file must
// never be taken for a first start, which would make a new store in its place. A crash while
// the store is being created is not damage: MarkIfNew reports true again.
func (d *Dir) MarkIfNew() (bool, error) {
	if disk.Exists(d.file("new")) && !disk.Exists(d.file("format")) {
		return true, nil
	}
	empty, err := disk.Empty(d.path)
	if !empty || err != nil {
		return false, err
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return false, err
	}
	f, err := os.OpenFile(d.file("new"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), disk.SyncDir(d.path))
	}
	return true, err
}

// CheckFormat reads the format. It returns an error for a format that this program can
// neither read nor convert. A missing file is not an error: see [Dir.Current].
func (d *Dir) CheckFormat() error {
	b, err := os.ReadFile(d.file("format"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the store's format: %w", err)
	}
	switch d.format = strings.TrimSpace(string(b)); d.format {
	case Format, FormerFormat:
		return nil
	}
	return fmt.Errorf("%s says that the store has format %q, but this gatehouse reads format %s: "+
		"use the program that made it, or, if the file itself is damaged, %s",
		d.file("format"), d.format, Format, disk.RestoreAdvice)
}

// Format returns the format of the store, or "" if it is not known: as CheckFormat has read
// it, or this program's after SetFormat.
func (d *Dir) Format() string { return d.format }

// Current reports whether the store is known to have this program's format. If not, the
// caller must check every record before it calls SetFormat.
func (d *Dir) Current() bool { return d.format == Format }

// SetFormat records that the store has this program's format, and so is no longer being
// created.
func (d *Dir) SetFormat() error {
	if d.Current() {
		return nil
	}
	if err := disk.WriteFile(d.file("format"), []byte(Format+"\n")); err != nil {
		return err
	}
	d.format = Format
	return errors.Join(disk.RemoveIfThere(d.file("new")), disk.SyncDir(d.path))
}

// RemoveRemains removes the unfinished files that a crash has left in the directory.
func (d *Dir) RemoveRemains() {
	entries, _ := os.ReadDir(d.path)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), "-") {
			os.Remove(d.file(e.Name()))
		}
	}
}

// Restored says which journal a restored store must have.
type Restored struct {
	// End is the end of the journal from the backup.
	End journal.Position
	// After is set instead if a checkpoint was restored, which has no journal. A new journal may
	// then begin after this record.
	After uint64
}

// HasJournal reports whether the backup has a journal.
func (r Restored) HasJournal() bool { return r.End != journal.Position{} }

// SetRestored notes that the directory has only what a backup contains.
func (d *Dir) SetRestored(r Restored) error {
	text := r.End.String()
	if !r.HasJournal() {
		text = strconv.FormatUint(r.After, 10)
	}
	return disk.WriteFile(d.file("restored"), []byte(text))
}

// IsRestored reports whether a restore has left only journal and checkpoint.
func (d *Dir) IsRestored() bool { return disk.Exists(d.file("restored")) }

// Restored reads what SetRestored has written.
func (d *Dir) Restored() (r Restored, err error) {
	b, err := os.ReadFile(d.file("restored"))
	if err != nil {
		return r, err
	}
	text := strings.TrimSpace(string(b))
	if r.End, err = journal.ParsePosition(text); err == nil {
		return r, nil
	}
	if r.After, err = strconv.ParseUint(text, 10, 64); err != nil {
		return Restored{}, fmt.Errorf("%w: %s can't be read: restore again", disk.ErrDamaged, d.file("restored"))
	}
	return r, nil
}

// ClearRestored notes that the files that were missing after a restore are there.
func (d *Dir) ClearRestored() error { return disk.RemoveIfThere(d.file("restored")) }

var restoredKey = []byte("m restored")

// NoteFirstStart notes the time, in ms, of the first start after a restore. At other
// starts it does nothing.
func (d *Dir) NoteFirstStart(seals *keys.Seals, ms int64) error {
	info, err := os.Stat(d.file("restored-at"))
	if !d.IsRestored() && (err != nil || info.Size() > 0) {
		return nil
	}
	b := seals.Seal(restoredKey, binary.BigEndian.AppendUint64(nil, uint64(ms)))
	return disk.WriteFile(d.file("restored-at"), b)
}

// ExpectFirstStart makes the next start count as the first one after a restore.
func (d *Dir) ExpectFirstStart() error { return disk.WriteFile(d.file("restored-at"), nil) }

// FirstStart returns the time that NoteFirstStart has noted, in ms, or 0 if the store
// never was restored. known is false if the file can't be read.
func (d *Dir) FirstStart(seals *keys.Seals) (ms int64, known bool) {
	b, err := os.ReadFile(d.file("restored-at"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true
	}
	if err == nil {
		b, err = seals.Open(restoredKey, b)
	}
	if err != nil || len(b) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(b)), true
}

// NoteBackup notes that a backup was made at a time, in ms.
func (d *Dir) NoteBackup(ms int64) error {
	return disk.WriteFile(d.file("backed-up"), strconv.AppendInt(nil, ms, 10))
}

// LastBackup returns when the last backup was made, in ms, or 0 if none was made or the
// time is not known.
func (d *Dir) LastBackup() int64 {
	b, _ := os.ReadFile(d.file("backed-up"))
	ms, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return ms
}
