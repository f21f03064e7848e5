package datadir

import (
	"bytes"
	cryptotls "crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestCrowdedOut has a server with 256 open files, and one address that opens 400
// connections and sends no request, or never ends one. Others are served, and so is the
// administration.
func TestCrowdedOut(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	hello := clientHello(t)
	for _, c := range []struct {
		what, sends string
		tls         bool
	}{
		{"silence", "", false},
		{"half a header", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-", false},
		{"half a body", "POST /api/revoke HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\ntoken=", false},
		{"an answered request", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"silence", "", true},
		{"half a hello", hello[:len(hello)/2], true},
		{"a hello", hello, true},
	} {
		t.Run(fmt.Sprint(c.what, " tls ", c.tls), func(t *testing.T) {
			dir := t.TempDir()
			serve := serveOn(t, file)
			args := append([]string{"-c", `ulimit -n 256; exec "$0" "$@"`}, serve.Args...)
			if c.tls {
				cert, key := ldaptest.NewAuthority(t).Issue(t, "localhost")
				for name, text := range map[string]string{"cert.pem": cert, "key.pem": key, "gate.toml": "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"} {
					must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
				}
				args = append(args, "--config", "gate.toml")
			}
			cmd := exec.Command("sh", args...)
			cmd.Env, cmd.Dir = serve.Env, dir
			r, out := startPiped(t, cmd)
			log := make(chan string, 1)
			go func() { b, _ := io.ReadAll(out); log <- string(b) }()
			u := must.Get(url.Parse(r.url))(t)
			var crowd []net.Conn
			for range 400 {
				conn := must.Get(dialFrom("127.0.0.2", u.Host))(t)
				t.Cleanup(func() { conn.Close() })
				io.WriteString(conn, c.sends) // it may be closed by now
				crowd = append(crowd, conn)
			}
			client := http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &cryptotls.Config{InsecureSkipVerify: true}}}
			for range 20 {
				for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/api/verify": 401} {
					resp, err := client.Get(r.url + path)
					if err != nil || resp.StatusCode != want {
						t.Fatalf("%s: got %v, %v, want %d", path, resp, err, want)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				client.CloseIdleConnections()
			}
			if got := figure(t, &client, r.url, "gatehouse_connections_turned_away_total"); got < 400-96 {
				t.Errorf("the metrics tell of %v connections turned away", got)
			}
			if got := figure(t, &client, r.url, "gatehouse_connections"); got < 1 || got > 96+10 {
				t.Errorf("the metrics tell of %v connections", got)
			}
			data := serve.Args[len(serve.Args)-1]
			add := exec.Command(file, "user", "add", "ada@example.com", "--password-stdin", "--data", data)
			add.Stdin, add.Env = strings.NewReader("secret\n"), serve.Env
			if out, err := add.CombinedOutput(); err != nil || bytes.Contains(out, []byte("No server is running")) {
				t.Errorf("the administration: %v\n%s", err, out)
			}
			open := 0
			for _, conn := range crowd {
				if isOpen(t, conn) {
					open++
				}
				conn.Close()
			}
			if open > 96 { // half of the room
				t.Errorf("%d connections of the address are open", open)
			}
			r.stop()
			if text := <-log; !strings.Contains(text, "too many from one network") || !strings.Contains(text, "network=127.0.0.2/32") {
				t.Errorf("the log does not tell:\n%s", text)
			}
		})
	}
}

// TestOpenFiles: the soft limit of open files, which is kept low for programs that use
// select, is raised to the hard one (by Go, to one less).
func TestOpenFiles(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	serve := serveOn(t, file)
	cmd := exec.Command("sh", append([]string{"-c", `ulimit -S -n 100 && ulimit -H -n 300 && exec "$0" "$@"`}, serve.Args...)...)
	cmd.Env = serve.Env
	r, _ := startPiped(t, cmd)
	if limits := readAll(t, fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid)); !regexp.MustCompile(`Max open files +(299|300) +300 `).MatchString(limits) {
		t.Errorf("got\n%s", limits)
	}
	r.stop()
}

// figure returns one of the server's metrics.
func figure(t *testing.T, client *http.Client, url, name string) float64 {
	t.Helper()
	resp := must.Get(client.Get(url + "/metrics"))(t)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s is missing: %v", name, err)
	}
	v := must.Get(strconv.ParseFloat(string(m[1]), 64))(t)
	return v
}

func dialFrom(from, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.Dial("tcp", addr)
}

// isOpen reports whether the other side has not closed a connection yet.
func isOpen(t *testing.T, c net.Conn) (open bool) {
	t.Helper()
	raw := must.Get(c.(*net.TCPConn).SyscallConn())(t)
	must.Do(t, raw.Control(func(fd uintptr) {
		for b, n, err := make([]byte, 4096), 1, error(nil); n > 0; {
			n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			open = err == unix.EAGAIN
		}
	}))
	return open
}

// clientHello returns what a client of TLS sends first.
func clientHello(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go cryptotls.Client(theirs, &cryptotls.Config{InsecureSkipVerify: true}).Handshake()
	b := make([]byte, 4096)
	n := must.Get(ours.Read(b))(t)
	return string(b[:n])
}
