package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ownerOf returns the user and the group of a data directory; ok is false if
// there is no directory.
func ownerOf(dir string) (uid, gid int, ok bool) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// CheckOwner keeps root from leaving files in a store that the owner's server
// could not open.
func CheckOwner(dir string) error {
	if uid, _, ok := ownerOf(dir); ok && os.Geteuid() == 0 && uid != 0 {
		return fmt.Errorf("%s belongs to user %d: run the server as that user", dir, uid)
	}
	return nil
}

// CheckPrivate refuses a data directory that others can write to: they could put
// another configuration, key or store there, or a socket that passwords are then sent
// to. A directory that does not exist is made private.
func CheckPrivate(dir string) error {
	for _, d := range []struct{ path, advice string }{{dir, "name one with --data"}, {filepath.Join(dir, "store"), "move it away"}} {
		info, err := os.Stat(d.path)
		if err != nil {
			continue // opening it returns the reason
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory: %s", d.path, d.advice)
		}
		if mode := info.Mode().Perm(); mode&0o022 != 0 {
			return fmt.Errorf("%s has mode %04o, so others can write to it: chmod 700 it if nobody else should have put files there, or name a new directory with --data", d.path, mode)
		}
	}
	return nil
}

// If the process runs as root, BecomeOwner makes it run as the owner of a data
// directory, for good.
func BecomeOwner(dir string) error {
	uid, gid, ok := ownerOf(dir)
	if !ok || os.Geteuid() != 0 || uid == 0 {
		return nil
	}
	return become(dir, uid, gid, uid, gid)
}

// ActAsOwner is BecomeOwner until back is called. Callers must call back even
// after an error.
func ActAsOwner(dir string) (back func() error, err error) {
	back = func() error { return nil }
	uid, gid, ok := ownerOf(dir)
	if !ok || os.Geteuid() != 0 || uid == 0 {
		return back, nil
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return back, fmt.Errorf("read the groups of this process: %w", err)
	}
	own := os.Getegid()
	back = func() error {
		return errors.Join(syscall.Setresuid(0, 0, 0), syscall.Setresgid(own, own, own), syscall.Setgroups(groups))
	}
	return back, become(dir, uid, gid, 0, own)
}

// become changes the user and the group. The process may return to the saved
// ones.
func become(dir string, uid, gid, savedUID, savedGID int) error {
	err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setresgid(gid, gid, savedGID), syscall.Setresuid(uid, uid, savedUID))
	if err != nil {
		return fmt.Errorf("work as the owner of %s: %w", dir, err)
	}
	return nil
}
