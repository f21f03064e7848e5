package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of a unix socket, as it was when it connected.
type Peer struct {
	UID    uint32   // of the account it runs as
	Groups []uint32 // that the account is in, for this process
	Person uint32   // the account that a person logged in as, such as before sudo; else UID
}

// peerKey is the context key of the peer of a connection.
type peerKey struct{}

// PeerOf returns who is at the other end of the unix socket that a request came by.
func PeerOf(ctx context.Context) (p Peer, known bool) {
	p, known = ctx.Value(peerKey{}).(Peer)
	return p, known
}

// withPeer is the ConnContext of an http.Server on a unix socket.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	p, err := peerOf(conn)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(conn net.Conn) (p Peer, err error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return p, errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p, err
	}
	var cred *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner == nil {
			p.Groups, inner = peerGroups(fd)
		}
	})
	if err := errors.Join(err, inner); err != nil {
		return p, err
	}
	p.UID, p.Groups = cred.Uid, append(p.Groups, cred.Gid)
	p.Person = LoggedIn(int(cred.Pid), cred.Uid)
	return p, nil
}

// peerGroups returns the supplementary groups (SO_PEERGROUPS, Linux 4.13). Later
// changes by the process or in /etc/group do not count.
func peerGroups(fd uintptr) ([]uint32, error) {
	list := make([]uint32, 64)
	for {
		size := uint32(4 * len(list))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return list[:size/4], nil
		case errno == unix.ERANGE && int(size) > 4*len(list):
			list = make([]uint32, size/4)
		default:
			return nil, fmt.Errorf("groups of the peer: %w", errno)
		}
	}
}

// unset is the login uid of a process that no login began: -1.
const unset = ^uint32(0)

// LoggedIn returns the account that a person logged in as before a process of the account
// uid was started: the login uid, which sudo and su leave as it is (pam_loginuid(8)). For
// a process that no login began, such as a service, it returns uid. It also returns uid
// if the process has ended and its number belongs to another account's process by now.
func LoggedIn(pid int, uid uint32) uint32 {
	dir := "/proc/" + strconv.Itoa(pid)
	info, err := os.Stat(dir)
	if err != nil {
		return uid
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != uid {
		return uid
	}
	b, err := os.ReadFile(dir + "/loginuid")
	if err != nil {
		return uid
	}
	login, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || uint32(login) == unset {
		return uid
	}
	return uint32(login)
}
