package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// datedName is the form of the names of backups in a directory. They sort by time.
const datedName = "gatehouse-20060102T150405Z"

var isDated = regexp.MustCompile(`^gatehouse-\d{8}T\d{6}Z$`)

// Dated is the name of a backup that is made now in a directory.
func Dated(dir string, now time.Time) string {
	return filepath.Join(dir, now.UTC().Format(datedName))
}

// KeepNewest deletes all but the newest of the backups with a name as Dated makes it. It
// deletes no other file, and never the backup just made, even if the clock was wrong when
// the others were made.
func KeepNewest(dir string, keep int, made string) error {
	entries, err := os.ReadDir(dir) // in the order of their names
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !e.Type().IsRegular() || !isDated.MatchString(e.Name()) || e.Name() == filepath.Base(made)
	})
	var errs []error
	for _, e := range entries[:max(0, len(entries)-keep+1)] {
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
