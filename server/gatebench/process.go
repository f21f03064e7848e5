package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatehouse/storage"
)

const verifyPath = "/api/verify"

// process is a server that runs.
type process struct {
	cmd    *exec.Cmd
	url    string
	asks   string        // where it is asked: the same URL, or that of the gate's own address
	socket string        // where it is asked in place of that; "": nowhere
	term   func() error  // asks it to end, once: a second signal would kill it
	said   chan struct{} // closed at the end of its standard error
	last   string        // line of it
}

var address = regexp.MustCompile(`msg=listening url=(http\S+)(?:.* gate=(http\S+))?`)

// start runs a server and waits until it says where it listens.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, said: make(chan struct{})}
	p.term = sync.OnceValue(func() error { return cmd.Process.Signal(syscall.SIGTERM) })
	cmd.Cancel = p.term
	cmd.WaitDelay = time.Minute
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GATEHOUSE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	urls := make(chan []string, 1)
	go func() {
		defer close(p.said)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			p.last = lines.Text()
			if m := address.FindStringSubmatch(p.last); m != nil {
				urls <- m[1:]
			}
		}
	}()
	select {
	case u := <-urls:
		p.url, p.asks = u[0], cmp.Or(u[1], u[0])
		return p, nil
	case <-p.said:
		return nil, fmt.Errorf("%s: %w: %s", cmd.Args[len(cmd.Args)-1], cmd.Wait(), p.last)
	}
}

// client asks the process as the proxy does.
func (p *process) client() http.RoundTripper {
	if p.socket == "" {
		return http.DefaultTransport
	}
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", p.socket)
	}}
}

func (p *process) stop() error {
	if err := p.term(); err != nil {
		return err
	}
	<-p.said
	return p.cmd.Wait()
}

// kill ends the empty handler, which has nothing to bring to an end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.said
	p.cmd.Wait()
}

// processor returns the processor time that a process has used.
func processor(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/…/stat has %d fields", len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err1, err2) // USER_HZ is 100
}

// memory returns how many bytes of the process's memory no file backs.
func (p *process) memory() (int64, error) {
	text, err := status(p.cmd.Process.Pid, "RssAnon")
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return kib << 10, err
}

// status returns a field of /proc/PID/status.
func status(pid int, field string) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(b), field+":")
	if !ok {
		return "", fmt.Errorf("/proc/…/status has no %s", field)
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line), nil
}

// gate is the gatehouse that is measured, and how soon after its start it let
// a token through, had its table whole, and had nothing more to do.
type gate struct {
	*process
	answered, whole, idle time.Duration
}

func (b *bench) startGate(ctx context.Context, live storage.Secret) (*gate, error) {
	began := time.Now()
	args := []string{"serve", "--listen", "127.0.0.1:0", "--data", b.data}
	config := ""
	if b.behind != "" {
		config = "trusted_proxies = [\"127.0.0.1/32\"]\n"
	}
	socket, listen := b.socket("gate"), "127.0.0.1:0"
	if socket != "" {
		listen = "unix:" + socket
	}
	if b.own {
		config += fmt.Sprintf("[gate]\nlisten = %q\n", listen)
	}
	if config != "" {
		file := filepath.Join(b.scratch, "config.toml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--config", file)
	}
	p, err := start(b.pinned(ctx, b.server, b.gatehouse, args...))
	if err != nil {
		return nil, err
	}
	p.socket = socket
	g := &gate{process: p}
	err = await(ctx, func() (bool, error) {
		a, err := record(p.client(), p.asks+verifyPath, tokenHeader+live.Reveal())
		return a.Status == http.StatusOK, err
	})
	g.answered = time.Since(began)
	if err == nil {
		err = await(ctx, func() (bool, error) {
			n, err := p.figure("gatehouse_table_loaded")
			return n == 1, err
		})
	}
	g.whole = time.Since(began)
	if err == nil {
		err = p.settle(ctx)
	}
	g.idle = time.Since(began)
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return g, nil
}

// settle waits until the server has used less than a twentieth of a second's processor time
// in a second. After its start it still reads what queries ask for.
func (p *process) settle(ctx context.Context) error {
	began, last := time.Now(), time.Duration(0)
	return await(ctx, func() (bool, error) {
		if time.Since(began) < time.Second {
			return false, nil
		}
		used, err := processor(p.cmd.Process.Pid)
		quiet := used-last < 50*time.Millisecond
		began, last = time.Now(), used
		return quiet, err
	})
}

// startEmpty starts the server that sends that answer to everybody, at a unix socket or, if
// that is empty, at a TCP port.
func (b *bench) startEmpty(ctx context.Context, a answer, socket string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	os.Remove(socket) // of the contest before
	cmd := b.pinned(ctx, b.server, self, emptyMode, socket)
	cmd.Stdin = bytes.NewReader(text)
	p, err := start(cmd)
	if err == nil {
		p.socket = socket
	}
	return p, err
}

// socket returns where a server listens if the proxy asks it at a unix socket, as the manual
// shows for a gate with an address of its own, or "".
func (b *bench) socket(name string) string {
	if !b.own || proxies[b.behind].socket == "" {
		return ""
	}
	return filepath.Join(b.scratch, name+".sock")
}

// await asks until ok returns true.
func await(ctx context.Context, ok func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// figure is one of the figures that the server has for Prometheus.
func (p *process) figure(name string) (float64, error) {
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no %s", name)
}
