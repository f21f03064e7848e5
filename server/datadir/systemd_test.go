package datadir

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

// manager is the socket on which systemd listens to a service.
type manager struct {
	*testing.T
	*net.UnixConn
	name string
}

func newManager(t *testing.T) manager {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	c := must.Get(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"}))(t)
	t.Cleanup(func() { c.Close() })
	return manager{t, c, name}
}

// next returns the next message that matches the pattern.
func (m manager) next(pattern string) string {
	m.Helper()
	var seen []string
	b := make([]byte, 4096)
	m.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := m.Read(b)
		if err != nil {
			m.Fatalf("no %s: %v, after %q", pattern, err, seen)
		}
		if regexp.MustCompile(`^(?:` + pattern + `)$`).Match(b[:n]) {
			return string(b[:n])
		}
		seen = append(seen, string(b[:n]))
	}
}

// drain reads what nobody needs, so that its writer can go on.
func drain(r io.Reader) { io.Copy(io.Discard, r) }

// silent checks that no message waits to be read.
func (m manager) silent() {
	m.Helper()
	b := make([]byte, 4096)
	m.SetReadDeadline(time.Unix(1, 0))
	if n, err := m.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		m.Fatalf("got %q, %v, want no message", b[:n], err)
	}
}

// TestSystemd: a server says when it is ready, reads its configuration again and stops,
// and while it runs, that it answers.
func TestSystemd(t *testing.T) {
	m := newManager(t)
	file := program(t)
	cmd := serveOn(t, file)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.name, "WATCHDOG_USEC=200000", "WATCHDOG_PID=")
	r, log := startPiped(t, cmd)
	go drain(log)
	m.next("READY=1")
	for range 3 {
		m.next("WATCHDOG=1")
	}
	cmd.Process.Signal(syscall.SIGHUP)
	if got := m.next(`RELOADING=1\nMONOTONIC_USEC=[1-9]\d+`); strings.Contains(got, "USEC=0") {
		t.Errorf("got %q", got)
	}
	m.next("READY=1")
	r.stands("after a reload")
	m.next("WATCHDOG=1")
	cmd.Process.Signal(syscall.SIGTERM)
	m.next("STOPPING=1")
	must.Do(t, <-r.ended)
}

// TestWatchdog: there is one message for each answer of the store, and none without.
func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", m.name)
	t.Setenv("WATCHDOG_USEC", "1000")
	asked, answer := make(chan bool), make(chan bool)
	go watchdog(t.Context(), func() { asked <- true; <-answer }, slog.New(slog.DiscardHandler))
	for range 50 {
		<-asked
		m.silent()
		answer <- true
		m.next("WATCHDOG=1")
	}
}

// TestWatchdogOff: without a WatchdogSec in the unit, and in a child of the service,
// nothing is asked or said.
func TestWatchdogOff(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", m.name)
	for _, env := range [][2]string{{"", ""}, {"0", ""}, {"x", ""}, {"1000", "1"}} {
		t.Setenv("WATCHDOG_USEC", env[0])
		t.Setenv("WATCHDOG_PID", env[1])
		watchdog(t.Context(), func() { t.Errorf("with %q, the store is asked", env) }, slog.New(slog.DiscardHandler))
		m.silent()
	}
}
