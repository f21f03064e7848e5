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

// KeepNewest deletes all but the newest backups that have a name of Dated's: no other
// file, and not the one that was just made, whatever the clock was when the others were.
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
