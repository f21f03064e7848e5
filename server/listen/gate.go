package listen

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gatehouse/server/config"
)

// GateListener listens at the address at which reverse proxies ask: a TCP port or a unix
// socket. All connections of a unix socket count as a trusted proxy's.
func (o *Connections) GateListener(c config.Gate) (net.Listener, error) {
	path, unix := c.Socket()
	if !unix {
		return o.tcp(c.Listen, true)
	}
	gid, err := c.Group()
	if err != nil {
		return nil, fmt.Errorf("gate.socket_group: %w", err)
	}
	l, err := listenSocket(path, gid)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &socketListener{UnixListener: l, open: o, path: path}, nil
}

// listenSocket makes a unix socket to which the group may connect; with gid -1, only the
// account and root may. It makes the socket in a directory of its own and then moves it,
// so that nobody else can connect at any moment. It replaces a socket on which nobody
// listens.
func listenSocket(path string, gid int) (l *net.UnixListener, err error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("it is not a socket: move it away")
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, fmt.Errorf("another program listens on it")
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".gate") // of mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	if len(made) > maxSocketPath || len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path is too long: use one of %d bytes at most", maxSocketPath-len(made)+len(path))
	}
	if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"}); err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it moves
	if err := openTo(made, gid); err != nil {
		l.Close()
		return nil, err
	}
	if err := os.Rename(made, path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Regroup lets another group connect to a socket that is there already.
func Regroup(c config.Gate) error {
	path, _ := c.Socket()
	gid, err := c.Group()
	if err != nil {
		return err
	}
	return openTo(path, gid)
}

func openTo(path string, gid int) error {
	if gid < 0 {
		return os.Chmod(path, 0o600)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("give it to gate.socket_group: %w (the server's account must be a member of the group)", err)
	}
	return os.Chmod(path, 0o660)
}

// socketListener accepts connections on a unix socket as long as there is room for them.
type socketListener struct {
	*net.UnixListener
	open   *Connections
	path   string
	closed sync.Once
}

func (l *socketListener) Accept() (net.Conn, error) {
	for {
		u, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		c, err := l.open.conn(u, true)
		if err != nil { // no more files
			u.Close()
			return nil, err
		}
		if l.open.enterProxy(c) {
			return c, nil
		}
		c.Close()
	}
}

// Addr is where the socket was moved to.
func (l *socketListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close removes the socket, once: later there may be another one at its path.
func (l *socketListener) Close() error {
	err := net.ErrClosed
	l.closed.Do(func() {
		os.Remove(l.path)
		err = l.UnixListener.Close()
	})
	return err
}
