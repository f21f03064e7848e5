package listen

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Share lets the members of groups reach the administration socket of a data directory:
// they may pass through the directory, and connect. It does so by access control lists
// (acl(5)), so that nobody else can even connect. The directory can't be listed, and its
// files stay private. Groups that an earlier call let through, and this one does not, lose
// that: they are those in the list of the socket's directory, which is ours alone.
func Share(dir string, gids []uint32) error {
	socket := SocketPath(dir)
	var gone []uint32
	list, err := readACL(filepath.Dir(socket))
	for _, e := range list {
		if e.Tag == aclGroup && !slices.Contains(gids, e.ID) {
			gone = append(gone, e.ID)
		}
	}
	if len(gids) == 0 && (len(gone) == 0 || errors.Is(err, unix.ENOTSUP)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("let groups through to %s: %w", filepath.Dir(socket), err)
	}
	for _, one := range []struct {
		path string
		perm uint16
	}{{dir, aclExecute}, {filepath.Dir(socket), aclExecute}, {socket, aclRead | aclWrite}} {
		if err := grant(one.path, gids, gone, one.perm); err != nil {
			return fmt.Errorf("let groups through to %s: %w", one.path, err)
		}
	}
	return nil
}

// SharedWith returns the groups whom Share lets through to a data directory. Anybody who can
// reach the directory may ask.
func SharedWith(dir string) (groups []string) {
	list, err := readACL(dir)
	if err != nil {
		return nil
	}
	for _, e := range list {
		if e.Tag != aclGroup || e.Perm&aclExecute == 0 {
			continue
		}
		name := "the group " + strconv.FormatUint(uint64(e.ID), 10)
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(e.ID), 10)); err == nil {
			name = g.Name
		}
		groups = append(groups, name)
	}
	return groups
}

// The parts of an access control list as the kernel keeps it: a version, then entries.
const (
	aclName    = "system.posix_acl_access"
	aclVersion = 2
	aclNoID    = ^uint32(0)

	aclExecute, aclWrite, aclRead = 1, 2, 4

	aclUserOwner, aclUser, aclGroupOwner, aclGroup, aclMask, aclOther = 1, 2, 4, 8, 16, 32
)

// aclEntry is what one user, group or class of users may do.
type aclEntry struct {
	Tag, Perm uint16
	ID        uint32
}

// grant adds permissions for groups to a file, takes those of the groups that are gone,
// and leaves the others as they are.
func grant(path string, gids, gone []uint32, perm uint16) error {
	list, err := readACL(path)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e aclEntry) bool {
		return e.Tag == aclMask || e.Tag == aclGroup && (slices.Contains(gids, e.ID) || slices.Contains(gone, e.ID))
	})
	for _, gid := range gids {
		list = append(list, aclEntry{aclGroup, perm, gid})
	}
	mask, named := aclEntry{Tag: aclMask, ID: aclNoID}, false
	for _, e := range list {
		if e.Tag == aclUser || e.Tag == aclGroupOwner || e.Tag == aclGroup {
			mask.Perm |= e.Perm
			named = named || e.Tag != aclGroupOwner
		}
	}
	if named { // without names, the kernel makes the list the file's mode
		list = append(list, mask)
	}
	slices.SortFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.ID, b.ID)) })
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	if b, err = binary.Append(b, binary.LittleEndian, list); err != nil {
		return err
	}
	return unix.Setxattr(path, aclName, b, 0)
}

// readACL returns the list of a file, or what the file's mode says if the file has no
// list.
func readACL(path string) ([]aclEntry, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Getxattr(path, aclName, b)
	if errors.Is(err, unix.ENODATA) {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return nil, err
		}
		return []aclEntry{
			{aclUserOwner, uint16(st.Mode >> 6 & 7), aclNoID}, {aclGroupOwner, uint16(st.Mode >> 3 & 7), aclNoID}, {aclOther, uint16(st.Mode & 7), aclNoID},
		}, nil
	}
	if err != nil {
		return nil, err
	}
	if n < 4 || (n-4)%8 != 0 || binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, errors.New("the access control list has an unknown form")
	}
	list := make([]aclEntry, (n-4)/8)
	_, err = binary.Decode(b[4:n], binary.LittleEndian, list)
	return list, err
}
