package listen

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// TestPeer: the kernel names the process at the other end, with all its groups.
func TestPeer(t *testing.T) {
	l := must.Get(net.Listen("unix", filepath.Join(t.TempDir(), "s")))(t)
	defer l.Close()
	client := must.Get(net.Dial("unix", l.Addr().String()))(t)
	defer client.Close()
	conn := must.Get(l.Accept())(t)
	defer conn.Close()
	p, err := peerOf(conn)
	if err != nil || p.UID != uint32(os.Getuid()) {
		t.Fatalf("got %+v, %v, want this process", p, err)
	}
	groups := must.Get(os.Getgroups())(t)
	for _, gid := range append(groups, os.Getgid()) {
		if !slices.Contains(p.Groups, uint32(gid)) {
			t.Errorf("got the groups %v without %d", p.Groups, gid)
		}
	}
	if want := LoggedIn(os.Getpid(), uint32(os.Getuid())); p.Person != want {
		t.Errorf("got the person %d, want %d", p.Person, want)
	}
}

// TestLoggedIn: a process that no longer exists, or that belongs to another account, says
// nothing about who logged in.
func TestLoggedIn(t *testing.T) {
	self, uid := os.Getpid(), uint32(os.Getuid())
	for _, c := range []struct {
		pid int
		uid uint32
	}{{1 << 30, 1234}, {self, uid + 1}} {
		if got := LoggedIn(c.pid, c.uid); got != c.uid {
			t.Errorf("%+v: got %d, want the account itself", c, got)
		}
	}
}
