package datadir

import (
	"errors"
	"os/user"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"gatehouse/server/listen"
	"gatehouse/storage/storagetest/must"
)

// TestOwners: who is refused hears who may: the owner, and the groups of [admin] groups.
func TestOwners(t *testing.T) {
	dir := t.TempDir()
	l := must.Get(listen.Socket(dir))(t)
	defer l.Close()
	d := Dir{Path: dir}
	if got := d.owners(); !regexp.MustCompile(`^(root|root and \S+), the owner of \S+,$`).MatchString(got) {
		t.Errorf("without groups: %s", got)
	}
	if err := listen.Share(dir, []uint32{1, 1234567}); errors.Is(err, unix.ENOTSUP) {
		t.Skip("this file system has no access control lists")
	} else if err != nil {
		t.Fatal(err)
	}
	one := "the group 1"
	if g, err := user.LookupGroupId(strconv.Itoa(1)); err == nil {
		one = g.Name
	}
	if got := d.owners(); !regexp.MustCompile(`^(root|root, \S+), the owner of \S+, and members of ` + one + `, the group 1234567 as far as their role allows$`).MatchString(got) {
		t.Errorf("with two groups: %s", got)
	}
}
