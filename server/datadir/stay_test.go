package datadir

import (
	"bufio"
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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// patience is how long to wait for something that must come.
const patience = 5 * time.Minute

// program builds the program once for all tests that need it.
func program(t *testing.T) string {
	t.Helper()
	file := must.Get(built())(t)
	return file
}

// programDir is where the program is built; TestMain removes it.
var programDir string

var built = sync.OnceValues(func() (file string, err error) {
	if programDir, err = os.MkdirTemp("", "program"); err != nil {
		return "", err
	}
	file = filepath.Join(programDir, "gatehouse")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", file, "gatehouse").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	os.RemoveAll(programDir) // nothing, if no test needed the program
	os.Exit(status)
}

// running is a server that runs as a process of its own.
type running struct {
	*testing.T
	cmd   *exec.Cmd
	url   string
	ended chan error
}

// startPiped runs a server whose log is read from a pipe.
func startPiped(t *testing.T, cmd *exec.Cmd) (*running, *os.File) {
	t.Helper()
	out, in := must.Get2(os.Pipe())(t)
	t.Cleanup(func() { out.Close() })
	cmd.Stderr = in
	must.Do(t, cmd.Start())
	in.Close()
	return start(t, cmd, out), out
}

// start runs a server. log reads its standard output and error.
func start(t *testing.T, cmd *exec.Cmd, log io.Reader) *running {
	t.Helper()
	r := &running{T: t, cmd: cmd, ended: make(chan error, 1)}
	go func() { r.ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewReader(log)
	listening := regexp.MustCompile(`msg=listening url=(http\S+)`)
	var seen strings.Builder
	for r.url == "" {
		line, err := lines.ReadString('\n')
		seen.WriteString(line)
		if m := listening.FindStringSubmatch(line); m != nil {
			r.url = m[1]
		} else if err != nil {
			t.Fatalf("%v after %s", err, seen.String())
		}
	}
	return r
}

// serveOn returns the command of a server on an empty directory.
func serveOn(t *testing.T, file string) *exec.Cmd {
	cmd := exec.Command(file, "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"))
	cmd.Env = append(os.Environ(), "GATEHOUSE_CONFIG=", "GATEHOUSE_DATA=", "CREDENTIALS_DIRECTORY=")
	return cmd
}

// stands checks that the server answers requests, including those that it logs.
func (r *running) stands(what string) {
	r.Helper()
	client := http.Client{Timeout: patience}
	for path, want := range map[string]int{"/healthz": 200, "/api/verify": 401} {
		resp, err := client.Get(r.url + path)
		if err != nil || resp.StatusCode != want {
			r.Fatalf("%s: %s: got %v, %v, want %d", what, path, resp, err, want)
		}
		resp.Body.Close()
	}
	resp, err := client.PostForm(r.url+"/api/authenticate/userpass", url.Values{"username": {"nobody@example.com"}, "password": {"wrong"}})
	if err != nil || resp.StatusCode != 401 && resp.StatusCode != 429 {
		r.Fatalf("%s: a login: got %v, %v", what, resp, err)
	}
	resp.Body.Close()
}

// stop ends the server with SIGTERM and checks that it ends well.
func (r *running) stop() {
	r.Helper()
	r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-r.ended:
		if err != nil {
			r.Errorf("after SIGTERM: got %v, want a clean end", err)
		}
	case <-time.After(patience):
		r.Error("the server does not end")
	}
}

// TestLogReader: the server serves, and ends cleanly when it is told to, even if the
// reader of its log is stuck or gone.
func TestLogReader(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	piped := func(t *testing.T, both bool) (*running, *os.File) {
		out, in := must.Get2(os.Pipe())(t)
		t.Cleanup(func() { out.Close() })
		cmd := serveOn(t, file)
		cmd.Stderr = in
		if both {
			cmd.Stdout = in
		}
		must.Do(t, cmd.Start())
		in.Close()
		return start(t, cmd, out), out
	}
	t.Run("gone", func(t *testing.T) {
		r, log := piped(t, true)
		log.Close()
		for range 3 {
			r.cmd.Process.Signal(syscall.SIGHUP) // has it log
			r.stands("without a reader")
		}
		r.stop()
	})
	t.Run("stuck", func(t *testing.T) {
		r, log := piped(t, false)
		must.Get(unix.FcntlInt(log.Fd(), unix.F_SETPIPE_SZ, 4096))(t)
		fill(t, log)
		for range 50 {
			r.cmd.Process.Signal(syscall.SIGHUP)
			r.stands("with a full pipe")
		}
		r.stop()
	})
	t.Run("terminal", func(t *testing.T) {
		cmd := serveOn(t, file)
		terminal := must.Get(pty.Start(cmd))(t)
		r := start(t, cmd, terminal)
		terminal.Close() // as when an ssh session ends: SIGHUP, and EIO for what is written
		for range 3 {
			r.cmd.Process.Signal(syscall.SIGHUP)
			r.stands("without a terminal")
		}
		r.stop()
	})
	t.Run("a full disk", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip("there is no /dev/full here")
		}
		defer full.Close()
		cmd := serveOn(t, file)
		addr := storagetest.FreePort(t)
		cmd.Args = append(cmd.Args, "--listen", addr)
		cmd.Stdout, cmd.Stderr = full, full
		must.Do(t, cmd.Start())
		r := &running{T: t, cmd: cmd, url: "http://" + addr, ended: make(chan error, 1)}
		go func() { r.ended <- cmd.Wait() }()
		t.Cleanup(func() { cmd.Process.Kill() })
		for {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				break
			}
			select {
			case err := <-r.ended:
				t.Fatalf("it ended: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
		r.stands("with a full log")
		r.stop()
	})
}

// fill writes to a pipe until it takes no byte more.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	fd := must.Get(unix.Open(fmt.Sprintf("/proc/self/fd/%d", pipe.Fd()), unix.O_WRONLY|unix.O_NONBLOCK, 0))(t)
	defer unix.Close(fd)
	for {
		switch _, err := unix.Write(fd, []byte{'x'}); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return
		default:
			t.Fatal(err)
		}
	}
}

// TestSignals: only the signals that ask the server to end do so.
func TestSignals(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	cmd := serveOn(t, file)
	r, _ := startPiped(t, cmd)
	for _, s := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGWINCH,
		syscall.SIGURG, syscall.SIGCHLD, syscall.SIGIO, syscall.SIGPWR, syscall.SIGXFSZ, syscall.SIGXCPU, syscall.SIGCONT,
	} {
		r.cmd.Process.Signal(s)
		r.stands(fmt.Sprint("after ", s))
	}
	r.stop()
}

// TestMemoryIsKept looks at the process from outside. There is no core file and no
// debugger, but its own figures are still there.
func TestMemoryIsKept(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	cmd := serveOn(t, file)
	if os.Geteuid() == 0 { // as it really runs: without root's rights
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		giveAway(t, file, filepath.Dir(cmd.Args[len(cmd.Args)-1]))
	}
	r, _ := startPiped(t, cmd)
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	limits, err := os.ReadFile(proc + "limits")
	if err != nil || !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("got %v, and of core files:\n%s", err, limits)
	}
	info := must.Get(os.Stat(proc + "mem"))(t)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 { // a process that can't be dumped is root's
		t.Errorf("the memory is user %d's", st.Uid)
	}
	// The socket tells who connects, also if nobody may look into the server.
	list := exec.Command(file, "user", "list", "--data", cmd.Args[len(cmd.Args)-1])
	list.Env, list.SysProcAttr = cmd.Env, cmd.SysProcAttr
	if out, err := list.CombinedOutput(); err != nil || strings.Contains(string(out), "No server is running") {
		t.Errorf("the administration: %v\n%s", err, out)
	}
	resp := must.Get(http.Get(r.url + "/metrics"))(t)
	defer resp.Body.Close()
	figures, err := io.ReadAll(resp.Body)
	for _, name := range []string{"process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_cpu_seconds_total"} {
		if err != nil || !strings.Contains(string(figures), "\n"+name+" ") {
			t.Errorf("the metrics lack %s (%v)", name, err)
		}
	}
	r.stop()
}

// giveAway lets another account use the program and make a store.
func giveAway(t *testing.T, file, dir string) {
	for path := filepath.Dir(file); path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		must.Do(t, os.Chmod(path, 0o755))
	}
	for path := dir; path != os.TempDir() && path != "/"; path = filepath.Dir(path) {
		must.Do(t, os.Chmod(path, 0o755))
	}
	must.Do(t, os.Chown(dir, 65534, 65534))
}

// TestHangup: at SIGHUP the configuration and the certificate are read again. An error
// changes nothing, and is logged with its line.
func TestHangup(t *testing.T) {
	storagetest.Slow(t)
	file, dir := program(t), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	authority := ldaptest.NewAuthority(t)
	issue := func(name string) {
		cert, key := authority.Issue(t, name)
		write("cert.pem", cert)
		write("key.pem", key)
	}
	const tls = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"
	issue("first.example")
	write("gate.toml", tls)
	cmd := serveOn(t, file)
	cmd.Args, cmd.Dir = append(cmd.Args, "--config", "gate.toml"), dir
	r, out := startPiped(t, cmd)
	lines := bufio.NewReader(out)
	hangup := func(want ...string) {
		t.Helper()
		r.cmd.Process.Signal(syscall.SIGHUP)
		for _, want := range want {
			line, err := lines.ReadString('\n')
			for err == nil && (!strings.Contains(line, "certificate") && !strings.Contains(line, "configuration") || strings.Contains(line, "the changed certificate")) {
				line, err = lines.ReadString('\n') // of the store, or of a handshake, which looks at the files too
			}
			if err != nil || !strings.Contains(line, want) {
				t.Fatalf("got %q, %v, want %s", line, err, want)
			}
		}
	}
	shown := func() string {
		t.Helper()
		conn := must.Get(cryptotls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &cryptotls.Config{InsecureSkipVerify: true}))(t)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	hangup(`changed=nothing`)
	issue("second.example")
	hangup(`level=INFO msg="a new certificate is in use" names=second.example`, `changed=nothing`)
	if got := shown(); got != "second.example" {
		t.Errorf("got the certificate of %s", got)
	}
	write("gate.toml", "listen = \"127.0.0.1:1\"\n"+tls+"[logins]\naccount_failures = 9\n")
	hangup(`changed=logins.account_failures`)
	write("gate.toml", tls+"[logins]\naccount_failures = 0\n")
	hangup(`level=ERROR msg="the configuration was rejected; the previous one stays in force" error="gate.toml: line 5: logins.account_failures`)
	write("gate.toml", tls)
	write("key.pem", "no key")
	hangup(`level=ERROR msg="the configuration was rejected`)
	if got := shown(); got != "second.example" {
		t.Errorf("got the certificate of %s", got)
	}
	write("gate.toml", "listen = ")
	hangup(`level=ERROR msg="the configuration was rejected`)
	must.Do(t, os.Remove(filepath.Join(dir, "gate.toml")))
	hangup(`level=ERROR msg="the configuration was rejected`)
	issue("third.example")
	write("other.pem", readAll(t, filepath.Join(dir, "cert.pem")))
	write("gate.toml", strings.Replace(tls, "cert.pem", "other.pem", 1))
	hangup(`names=third.example`, `changed="tls.cert logins.account_failures"`)
	write("gate.toml", readAll(t, filepath.Join(dir, "gate.toml"))+"[log]\nlevel = \"error\"\n")
	hangup(`changed=log.level`)
	r.cmd.Process.Signal(syscall.SIGHUP) // read, and not told of
	write("gate.toml", "listen = ")
	hangup(`level=ERROR msg="the configuration was rejected`)
	r.stop()
}

func readAll(t *testing.T, file string) string {
	b := must.Get(os.ReadFile(file))(t)
	return string(b)
}
