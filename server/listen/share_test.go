package listen

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"gatehouse/storage/storagetest/must"
)

// TestGrant: access for one group takes nothing from another, and can be changed.
func TestGrant(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	must.Do(t, os.WriteFile(name, nil, 0o640))
	for _, c := range []struct {
		gids []uint32
		perm uint16
		want []aclEntry
		mode os.FileMode
	}{
		{[]uint32{7, 5}, aclExecute, []aclEntry{{aclGroup, 1, 5}, {aclGroup, 1, 7}, {aclMask, 5, aclNoID}}, 0o650},
		{[]uint32{7}, aclRead | aclWrite, []aclEntry{{aclGroup, 1, 5}, {aclGroup, 6, 7}, {aclMask, 7, aclNoID}}, 0o670},
		{nil, aclRead, []aclEntry{{aclGroup, 1, 5}, {aclGroup, 6, 7}, {aclMask, 7, aclNoID}}, 0o670},
	} {
		if err := grant(name, c.gids, nil, c.perm); errors.Is(err, unix.ENOTSUP) {
			t.Skip("this file system has no access control lists")
		} else if err != nil {
			t.Fatal(err)
		}
		got := must.Get(readACL(name))(t)
		want := append([]aclEntry{{aclUserOwner, 6, aclNoID}, {aclGroupOwner, 4, aclNoID}}, c.want...)
		if want = append(want, aclEntry{aclOther, 0, aclNoID}); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("got the mode %v, %v, want %v", info.Mode(), err, c.mode)
		}
	}
}

// TestShare: a group that lost its role can no longer pass, on any of the three files. An
// entry that the owner made for another group stays.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	l := must.Get(Socket(dir))(t)
	defer l.Close()
	socket := SocketPath(dir)
	if err := grant(dir, []uint32{9}, nil, aclRead|aclExecute); errors.Is(err, unix.ENOTSUP) {
		t.Skip("this file system has no access control lists")
	} else if err != nil {
		t.Fatal(err)
	}
	for _, gids := range [][]uint32{nil, {5, 7}, {7}, {5}, nil} {
		must.Do(t, Share(dir, gids))
		for _, name := range []string{dir, filepath.Dir(socket), socket} {
			list := must.Get(readACL(name))(t)
			want, got := slices.Clone(gids), []uint32(nil)
			if name == dir {
				want = append(want, 9)
			}
			for _, e := range list {
				if e.Tag == aclGroup {
					got = append(got, e.ID)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("for the groups %v, %s lets %v through", gids, name, got)
			}
		}
		if got := SharedWith(dir); len(got) != len(gids)+1 {
			t.Errorf("for the groups %v, it says that %q may pass", gids, got)
		}
	}
	for _, name := range []string{filepath.Dir(socket), socket} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("in the end %s has the mode %v, %v", name, info.Mode(), err)
		}
	}
}
