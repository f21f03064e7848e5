package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SocketPath returns the path of the administration socket of a data directory.
func SocketPath(dir string) string { return filepath.Join(dir, "run", "admin.sock") }

// maxSocketPath is the room for a path in sockaddr_un (unix(7)).
const maxSocketPath = 107

// Socket makes the administration socket of a data directory. The caller must hold the
// store: then a socket that is already there belongs to a process that has ended.
func Socket(dir string) (net.Listener, error) {
	path := SocketPath(dir)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the administration socket, %s, is longer than %d bytes: use a data directory with a shorter path", path, maxSocketPath)
	}
	if err := makePrivate(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%s is not a socket: move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the administration socket: %w", err)
	}
	// Until here the directory's mode keeps others out, even if the umask does not.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// makePrivate makes a directory of mode 0700, or makes an older one so. It follows no
// link: the directory that one leads to is not this server's to change.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return fmt.Errorf("%s is not a directory, or a link to one: move it away", dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(0o700)
}

// SocketHTTP returns what a unix socket is served with. [PeerOf] finds who sent a
// request.
func SocketHTTP(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          quiet(log),
		ConnContext:       withPeer,
	}
}
