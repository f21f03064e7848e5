package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"gatehouse/server/api"
	"gatehouse/server/reply"
)

// SocketPath is where the administration of a data directory listens.
func SocketPath(dir string) string { return filepath.Join(dir, "run", "admin.sock") }

// maxSocketPath is the room for a path in sockaddr_un (unix(7)).
const maxSocketPath = 107

// listenAdmin makes the socket. The caller holds the store, so a socket that
// is there already belongs to a process that is gone.
func listenAdmin(dir string) (net.Listener, error) {
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
		return nil, fmt.Errorf("listen for the administration: %w", err)
	}
	// Until then the directory's mode keeps others out, whatever the umask.
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

// peer is the process at the other end of a unix socket.
type peer struct{ uid uint32 }

func peerOf(conn net.Conn) (p peer, err error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return p, errors.New("no unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p, err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			inner = err
			return
		}
		p.uid = cred.Uid
	})
	return p, errors.Join(err, inner)
}

// peerKey is the context key of the peer of a connection.
type peerKey struct{}

// adminServer serves root and the account that the server runs as, and nobody else,
// even if somebody has opened up the directory.
func (s *Server) adminServer() *http.Server {
	inner := s.AdminHandler("")
	refusal := fmt.Sprintf("Only root and %s, the owner of the data directory, may administer Gatehouse", userName(uint32(os.Geteuid())))
	return &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          quiet(s.log),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			p, err := peerOf(conn)
			if err != nil {
				return ctx
			}
			return context.WithValue(ctx, peerKey{}, p)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := r.Context().Value(peerKey{}).(peer)
			if !ok || p.uid != 0 && int(p.uid) != os.Geteuid() {
				reply.JSON(w, http.StatusForbidden, api.Error{Message: refusal})
				return
			}
			ctx := context.WithValue(r.Context(), actorKey{}, userName(p.uid))
			inner.ServeHTTP(w, r.WithContext(ctx))
		}),
	}
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// quiet is a logger for what net/http reports of single connections, such as failed
// TLS handshakes: at the level Debug.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
