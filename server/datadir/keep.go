package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"gatehouse/storage/backup"
)

// datedName is the form of the names of backups in a directory. They sort by time.
const datedName = "gatehouse-20060102T150405Z"

// Several backups in one second end in .2 to .9, so that they, too, sort by time.
var isDated = regexp.MustCompile(`^gatehouse-\d{8}T\d{6}Z(\.[2-9])?$`)

// BackupInto makes a backup in a directory, and names it for the time. It replaces no
// file. On an error the file is the one that was not written.
func (d Dir) BackupInto(ctx context.Context, dir string, now time.Time) (file string, m backup.Manifest, err error) {
	name := filepath.Join(dir, now.UTC().Format(datedName))
	file = name
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return file, m, errors.New("no such file or directory: make the directory first")
	}
	const force = false
	for n := 2; ; n++ {
		m, err = d.Backup(ctx, file, force)
		if n > 9 || !errors.Is(err, errExists) {
			return file, m, err
		}
		file = fmt.Sprintf("%s.%d", name, n)
	}
}

// isUnfinished matches the names of backups that are being written, and of those that never will be.
var isUnfinished = regexp.MustCompile(`^\.gatehouse-\d{8}T\d{6}Z(\.[2-9])?-\d+$`)

// abandonedAfter: a backup that is being written gets more bytes within this time.
const abandonedAfter = 24 * time.Hour

// KeepNewest deletes all but the newest of the backups that are named as by BackupInto, and
// what is left of backups that were killed. It deletes no other file, and never the backup
// just made, even if the clock was wrong when the others were made.
func KeepNewest(dir string, keep int, made string) error {
	entries, err := os.ReadDir(dir) // in the order of their names
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && isUnfinished.MatchString(e.Name()) && time.Since(info.ModTime()) > abandonedAfter {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !e.Type().IsRegular() || !isDated.MatchString(e.Name()) || e.Name() == filepath.Base(made)
	})
	for _, e := range entries[:max(0, len(entries)-keep+1)] {
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
