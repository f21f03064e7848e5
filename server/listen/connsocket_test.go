package listen

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

// sockets calls test with a socket and its other end: of TCP, and of a unix socket.
func sockets(t *testing.T, test func(t *testing.T, s halfCloser, far halfCloser)) {
	for network, at := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			l := must.Get(net.Listen(network, at))(t)
			defer l.Close()
			far := must.Get(net.Dial(network, l.Addr().String()))(t)
			defer far.Close()
			near := must.Get(l.Accept())(t)
			defer near.Close()
			s := must.Get(newSocket(near.(netConn)))(t)
			test(t, s, far.(halfCloser))
		})
	}
}

// TestSocketWhole: much more than a socket's buffers hold arrives whole, both ways at once,
// and then the end.
func TestSocketWhole(t *testing.T) {
	sockets(t, func(t *testing.T, s, far halfCloser) {
		var both sync.WaitGroup
		for _, ends := range [][2]halfCloser{{s, far}, {far, s}} {
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
			both.Go(func() {
				if n, err := ends[0].Write(sent); n != len(sent) || err != nil {
					t.Errorf("wrote %d bytes, %v", n, err)
				}
				if err := ends[0].CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			both.Go(func() {
				if got, err := io.ReadAll(ends[1]); err != nil || !bytes.Equal(got, sent) {
					t.Errorf("read %d bytes, %v, want %d", len(got), err, len(sent))
				}
			})
		}
		both.Wait()
	})
}

// TestSocketErrors: a socket's errors are those of any connection.
func TestSocketErrors(t *testing.T) {
	sockets(t, func(t *testing.T, s, far halfCloser) {
		b := make([]byte, 1<<20)
		if n, err := s.Read(nil); n != 0 || err != nil {
			t.Errorf("into nothing: got %d, %v", n, err)
		}
		s.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := s.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nothing sent in time: got %d, %v", n, err)
		} else if bad, ok := err.(*net.OpError); !ok || bad.Op != "read" {
			t.Errorf("got %#v, which net/http does not know", err)
		}
		s.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := 0, error(nil)
		for err == nil {
			n, err = s.Write(b)
		}
		if n >= len(b) || !errors.Is(err, os.ErrDeadlineExceeded) || !err.(net.Error).Timeout() {
			t.Errorf("nobody reads: wrote %d, %v", n, err)
		}
		s.SetDeadline(time.Time{})
		far.Close()
		if _, err := s.Write(b); err.(*net.OpError).Op != "write" || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("nobody is there: wrote, %v", err)
		}
	})
	sockets(t, func(t *testing.T, s, far halfCloser) {
		got := make(chan error, 1)
		go func() { _, err := s.Read(make([]byte, 1)); got <- err }()
		s.Close()
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed while it was read: got %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed, and written to: got %v", err)
		}
	})
}
