package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/restore"
)

// format is the version of the files in the directory store. It goes up when a
// release writes something that the release before can't read: TestEncodings
// fails then.
//
//	1  the first
//	2  positions in index, table and checkpoint; no mark of a clean stop; recent
//	   files only in the index; ends of tokens without a record; when a user's
//	   state began
const (
	format       = "2"
	formatBefore = "1" // this program converts it
)

// checkFormat refuses a store of a format that this program does not know. If the
// file is missing, see bringUpToDate.
func (o *opening) checkFormat() error {
	b, err := os.ReadFile(o.s.path("format"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the store's format: %w", err)
	}
	switch o.format = strings.TrimSpace(string(b)); o.format {
	case format, formatBefore:
		return nil
	}
	return fmt.Errorf("%s says that the store has format %q, and this gatehouse reads format %s: "+
		"use the program that made it, or, if the file itself is damaged, %s",
		o.s.path("format"), o.format, format, disk.RestoreAdvice)
}

// bringUpToDate makes sure that this program can read every record of a store of the
// previous format. Only then does it note the new format: from that moment the store
// begins to change. (A release once changed the form of records without a new
// number: verification went on, and logins failed after every start.)
func (o *opening) bringUpToDate() error {
	v, end, err := o.s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	for _, kind := range []byte(record.Parsed) {
		if err == nil {
			err = v.Each([]byte{kind}, record.Check)
		}
	}
	if errors.As(err, new(*record.FormError)) {
		return fmt.Errorf("%w: the store in %s is of another version of gatehouse, and nothing in it was changed: use the program that made it", err, o.s.path(""))
	}
	if err != nil {
		return index.FaultOf("read the index", err)
	}
	if o.format != "" {
		o.s.opts.Log.Info("the store is brought up to date; earlier versions of gatehouse refuse it from now on", "from", o.format, "to", format)
	}
	return o.leaveFormat()
}

// leaveFormat records that the store has this program's format.
func (o *opening) leaveFormat() error {
	if o.format == format {
		return nil
	}
	if err := disk.WriteFile(o.s.path("format"), []byte(format+"\n")); err != nil {
		return err
	}
	o.format = format
	// The marks of a clean stop (format 1) and of a store being created.
	return errors.Join(disk.RemoveIfThere(o.s.path("clean")), disk.RemoveIfThere(o.s.path("new")), disk.SyncDir(o.s.path("")))
}

// isFresh reports whether there is no store in the directory. Any file that is left
// of a store counts as one: a missing file must never be taken for a first start,
// which would make a new store in its place. While a store is created for the first
// time, the file new says so. A crash at that point is therefore not damage.
func (o *opening) isFresh() (bool, error) {
	if disk.Exists(o.s.path("new")) && !disk.Exists(o.s.path("format")) {
		return true, nil
	}
	fresh, err := disk.Empty(o.s.path(""))
	if !fresh || err != nil {
		return false, err
	}
	if err := os.MkdirAll(o.s.path(""), 0o700); err != nil {
		return false, err
	}
	f, err := os.OpenFile(o.s.path("new"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), disk.SyncDir(o.s.path("")))
	}
	return true, err
}

// HasData reports whether there is a store in the directory.
func HasData(dir string) (bool, error) {
	fresh, err := disk.Empty(filepath.Join(dir, "store"))
	return !fresh, err
}

// removeRemains removes the unfinished files that a crash has left.
func (o *opening) removeRemains() {
	os.RemoveAll(restore.Stage(o.s.dir))
	entries, _ := os.ReadDir(o.s.path(""))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), "-") {
			os.Remove(o.s.path(e.Name()))
		}
	}
}
