// Package rekey replaces the key file of a store, and finds the key that opens the keyring
// after a rotation that was interrupted, or after a return to an older keyring.
//
//	key, keyring sealed with it
//	  1  the key is copied to key.old-TIME
//	  2  a new key is written in the place of key
//	  3  the caller is told, and writes its event
//	  4  the keyring, with another token key, is sealed with the new key: the rotation is done
//
// Each step replaces one file as a whole, durably. Until step 4 the keyring on the disk is
// the one from before, and a key that opens it is there: as key until step 2, and as
// key.old-TIME from step 1 on. [Load] tries them all. So whenever the machine stops, the
// store opens either with the keyring from before or with the new one.
//
// The package knows no record and no token. It never removes a key that opens the keyring.
package rekey

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// infix stands between the name of the key file and the time in the name of an old one.
const infix = ".old-"

// ErrReadOnly means that no key can be written beside the key file.
var ErrReadOnly = errors.New("the key can't be replaced")

// Old returns the old keys beside a key file, the newest first. A file that can't be read
// as a key is left out.
func Old(key string) (list []keys.File) {
	key = real(key)
	names := beside(key, filepath.Base(key)+infix)
	slices.Reverse(names) // the names contain times of the same form, and so sort by time
	for _, name := range names {
		if f, err := keys.ReadFile(name); err == nil {
			list = append(list, f)
		}
	}
	return list
}

// beside returns the files in the key file's directory whose names begin with prefix, sorted.
func beside(key, prefix string) (names []string) {
	entries, _ := os.ReadDir(filepath.Dir(key)) // if it can't be read, there is nothing to find
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, filepath.Join(filepath.Dir(key), e.Name()))
		}
	}
	return names
}

// Open opens a sealed keyring with the key file or, if that is not its key, with one of the
// old keys beside it. It also returns the key that opened it. Errors are those of
// [keys.File.Open] with the key file.
func Open(key keys.File, name string, sealed []byte) (keys.Ring, keys.File, error) {
	ring, err := key.Open(name, sealed)
	if !errors.Is(err, keys.ErrWrong) {
		return ring, key, err
	}
	for _, old := range Old(key.Name()) {
		if ring, err := old.Open(name, sealed); err == nil {
			return ring, old, nil
		}
	}
	return keys.Ring{}, key, err
}

// Key returns the key of a key file. If the process can't read the file, held is its key.
func Key(name string, held keys.File) (keys.File, error) {
	if held != (keys.File{}) {
		return held, nil
	}
	return keys.ReadFile(name)
}

// Load is [keys.Load], but it also takes an old key beside the key file. It then seals the
// keyring with the key in the key file, and returns the name of the old one.
// If the process can't read the key file, held is its key.
func Load(ring, key string, held keys.File, missing keys.Missing) (r keys.Ring, old string, err error) {
	f := held
	if f == (keys.File{}) {
		r, err = keys.Load(ring, key, missing)
	} else {
		r, err = f.Load(ring, missing)
	}
	if !errors.Is(err, keys.ErrWrong) {
		return r, "", err
	}
	wrong := err
	if f, err = Key(key, held); err != nil {
		return r, "", err
	}
	b, err := os.ReadFile(ring)
	if err != nil {
		return r, "", err
	}
	r, opened, err := Open(f, ring, b)
	if err != nil {
		return r, "", wrong
	}
	if b, err = f.Seal(r); err != nil {
		return r, "", err
	}
	return r, opened.Name(), disk.WriteFile(ring, b)
}

// real follows symbolic links: a rotation must replace the file and not the link.
func real(name string) string {
	if to, err := filepath.EvalSymlinks(name); err == nil {
		return to
	}
	return name
}

// Drop writes the keyring without some of its token keys, and returns it.
func Drop(ring string, f keys.File, numbers ...byte) (keys.Ring, error) {
	b, err := os.ReadFile(ring)
	if err != nil {
		return keys.Ring{}, err
	}
	r, err := f.Open(ring, b)
	if err != nil {
		return r, err
	}
	r = r.Without(numbers...)
	if b, err = f.Seal(r); err != nil {
		return r, err
	}
	return r, disk.WriteFile(ring, b)
}

// Rotation says what to do.
type Rotation struct {
	Ring string    // the file of the keyring
	Key  string    // the key file
	Now  time.Time // names the old key
	// Change returns the keyring that takes the place of the present one.
	Change func(keys.Ring) (keys.Ring, error)
	// Announce is called when everything except the keyring has been written. If it
	// returns an error, the rotation is undone.
	Announce func(keys.Ring) error

	Step func(done string) // called after each step, so that tests can stop the process there; may be nil
}

// isUnfinished reports whether a rotation that was killed has left this file: what was to
// become the key file, or a kept one.
func (o Rotation) isUnfinished(file string) bool {
	name := regexp.MustCompile(`^\.` + regexp.QuoteMeta(filepath.Base(o.Key)) + `(` + regexp.QuoteMeta(infix) + `\d{8}T\d{6}Z(\.\d+)?)?-\d+$`)
	info, err := os.Lstat(file)
	return err == nil && info.Mode().IsRegular() && name.MatchString(filepath.Base(file))
}

// Result is what a rotation has done.
type Result struct {
	Ring keys.Ring
	Key  keys.File // the new one
	Old  string    // the file that holds the old one
}

// Run rotates. The caller holds the store's directory. After an error the present keyring
// stays in use, even if the new one is already on the disk: it has all token keys of the
// present one. It returns [ErrReadOnly] if no file can be made in the key file's directory.
func (o Rotation) Run() (result Result, err error) {
	if o.Step == nil {
		o.Step = func(string) {}
	}
	key, err := keys.ReadFile(o.Key)
	if err != nil {
		return result, err
	}
	o.Key = real(o.Key)
	before, err := os.ReadFile(o.Ring)
	if err != nil {
		return result, err
	}
	ring, err := key.Open(o.Ring, before)
	if err != nil {
		return result, err
	}
	if result.Ring, err = o.Change(ring); err != nil {
		return result, err
	}
	result.Key = keys.NewFile(o.Key)
	sealed, err := result.Key.Seal(result.Ring)
	if err != nil {
		return result, err
	}
	for _, left := range beside(o.Key, "."+filepath.Base(o.Key)) {
		if o.isUnfinished(left) {
			os.Remove(left)
		}
	}
	o.Step("nothing is written")
	if result.Old, err = o.keep(key); err != nil {
		return result, err
	}
	o.Step("the old key is kept")
	err = result.Key.Write(o.Key)
	o.Step("the new key is written")
	if err == nil {
		err = o.Announce(result.Ring)
	}
	o.Step("the rotation is announced")
	if err == nil {
		err = disk.WriteFile(o.Ring, sealed)
	}
	if err != nil {
		return result, errors.Join(err, o.undo(before, result.Old))
	}
	o.Step("the keyring is sealed")
	return result, nil
}

// keep copies the present key to a file of its own.
func (o Rotation) keep(key keys.File) (name string, err error) {
	name = o.Key + infix + o.Now.UTC().Format("20060102T150405Z")
	for n := 2; disk.Exists(name); n++ {
		name = fmt.Sprintf("%s%s%s.%d", o.Key, infix, o.Now.UTC().Format("20060102T150405Z"), n)
	}
	if err = key.Write(name); err == nil {
		if info, err := os.Stat(o.Key); err == nil { // shows how old the key is
			os.Chtimes(name, time.Time{}, info.ModTime())
		}
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		if why, ok := errors.AsType[*fs.PathError](err); ok {
			err = why.Err // not with the name of an unfinished file
		}
		return "", fmt.Errorf("%w: no file can be made beside %s (%w): see `gatehouse manual security`, \"A key that the server can't write\"", ErrReadOnly, o.Key, err)
	}
	return name, err
}

// undo puts the old key back. It renames, because the disk may be full. It does nothing if
// the new keyring is already in its file: after a crash either keyring may be on the disk, so
// both keys must stay.
func (o Rotation) undo(before []byte, old string) error {
	if now, err := os.ReadFile(o.Ring); err != nil || !bytes.Equal(now, before) {
		return err
	}
	return errors.Join(os.Rename(old, o.Key), disk.SyncDir(filepath.Dir(o.Key)))
}
