package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gatehouse/server/manual"
)

// proxy is a proxy that can stand between wrk and the servers, configured as the manual
// shows.
type proxy struct {
	program string
	debian  string // its package
	blocks  []string
	files   []string                            // the blocks go into these
	site    func(text, addr, dir string) string // makes a block listen there, as a program without a configuration of the system
	asks    *regexp.Regexp                      // the lines that ask the gate
	socket  string                              // how it names a unix socket; "": it can't ask there
	passes  []string                            // lines that pass a request on, each followed by one that answers it here
	args    func(dir string) []string
}

var proxies = map[string]proxy{
	"nginx": {
		program: "nginx", debian: "nginx", blocks: []string{"nginx"}, files: []string{"nginx.conf"},
		site: func(text, addr, dir string) string {
			var temp strings.Builder
			for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				fmt.Fprintf(&temp, "%s_temp_path %s/%[1]s;\n", kind, dir)
			}
			return "daemon off; master_process off; pid " + dir + "/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n" +
				temp.String() + strings.Replace(text, "listen 80;", "root "+dir+"; listen "+addr+";", 1) + "}\n"
		},
		asks:   regexp.MustCompile(`(?m)^ +auth_request /.*\n`),
		socket: "unix:",
		passes: []string{"proxy_pass http://127.0.0.1:3000;", "try_files /nginx.conf =404;"}, // a file
		args: func(dir string) []string {
			return []string{"-p", dir, "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf")}
		},
	},
	"haproxy": {
		program: "haproxy", debian: "haproxy", blocks: []string{"haproxy", "lua"}, files: []string{"haproxy.cfg", "gate.lua"},
		site: func(text, addr, dir string) string {
			if !strings.Contains(text, "bind :80 ") {
				return text
			}
			text = strings.Replace(text, "bind :80 ", "bind "+addr+" ", 1)
			return "defaults\n    timeout connect 5s\n    timeout client 50s\n    timeout server 50s\n\n" + strings.ReplaceAll(text, "/etc/haproxy", dir)
		},
		asks:   regexp.MustCompile(`(?m)^ +http-request (lua\.gate|deny deny_status 503) .*\n`),
		passes: []string{"default_backend application", "http-request return status 200"},
		args:   func(dir string) []string { return []string{"-db", "-f", filepath.Join(dir, "haproxy.cfg")} },
	},
	"caddy": {
		program: "caddy", debian: "caddy", blocks: []string{"caddyfile"}, files: []string{"Caddyfile"},
		site: func(text, addr, _ string) string {
			text = strings.Replace(text, "{\n", "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n", 1)
			return strings.ReplaceAll(text, "app.example.com", strings.Replace(addr, "127.0.0.1", "http://localhost", 1)) // as wrk's Host has it
		},
		asks:   regexp.MustCompile(`(?ms)^\t\tforward_auth .*?\n\t\t}\n`),
		socket: "unix/",
		passes: []string{"import application", "respond 200"},
		args: func(dir string) []string {
			return []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile")}
		},
	},
}

// block returns the first block of a language in the manual's chapter about proxies.
func block(language string) (string, error) {
	chapter, _ := manual.Chapter("gateway")
	_, text, ok := strings.Cut(chapter, "\n```"+language+"\n")
	text, _, end := strings.Cut(text, "\n```\n")
	if !ok || !end {
		return "", fmt.Errorf("the manual has no block of %s", language)
	}
	return text + "\n", nil
}

// startProxy starts the proxy that b.behind names, in front of the contender, or of nothing if
// that has no URL. What the gate lets through, the proxy answers.
func (b *bench) startProxy(ctx context.Context, c contender) (*process, error) {
	p := proxies[b.behind]
	gate := cmp.Or(strings.TrimSuffix(strings.TrimPrefix(c.url, "http://"), verifyPath), "127.0.0.1:1")
	if c.socket != "" {
		gate = p.socket + c.socket
	}
	dir, err := os.MkdirTemp(b.scratch, b.behind)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is another account's
		return nil, err
	}
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	places := strings.NewReplacer(append(p.passes, "127.0.0.1:8080", gate)...)
	for n, language := range p.blocks {
		text, err := block(language)
		if err != nil {
			return nil, err
		}
		if c.url == "" {
			text = p.asks.ReplaceAllLiteralString(text, "")
		}
		if err := os.WriteFile(filepath.Join(dir, p.files[n]), []byte(p.site(places.Replace(text), addr, dir)), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := b.pinned(ctx, b.server, p.program, p.args(dir)...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started := &process{cmd: cmd, url: "http://" + addr, asks: "http://" + addr, said: make(chan struct{})}
	go func() { cmd.Wait(); close(started.said) }()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return started, c.Close()
		}
		select {
		case <-started.said:
			text, _ := os.ReadFile(said.Name())
			return nil, fmt.Errorf("%s ended: %s", p.program, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePort returns an address of this host that nobody listens at. Its port is below those
// that the kernel assigns by itself, of which one may be another program's a moment later.
func freePort() (addr string, err error) {
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))); err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", err
}

// fronts starts a proxy in front of each of the contenders, and one that asks nobody for
// one without a URL. stop ends them.
func (b *bench) fronts(ctx context.Context, all []contender) (stop func(), err error) {
	if b.behind == "" {
		return func() {}, nil
	}
	var started []*process
	stop = func() {
		for _, p := range started {
			p.kill()
		}
	}
	for n := range all {
		p, err := b.startProxy(ctx, all[n])
		if err != nil {
			stop()
			return nil, err
		}
		all[n].url, all[n].front = p.url+verifyPath, []int{p.cmd.Process.Pid}
		started = append(started, p)
	}
	return stop, nil
}

// needsProxy refuses a proxy that is not known or not there.
func (b *bench) needsProxy() error {
	if b.behind == "" {
		return nil
	}
	p, ok := proxies[b.behind]
	if !ok {
		return errors.New("-behind takes nginx, haproxy or caddy")
	}
	if _, err := exec.LookPath(p.program); err != nil {
		return fmt.Errorf("%s is missing: install Debian's package %s", p.program, p.debian)
	}
	return nil
}
