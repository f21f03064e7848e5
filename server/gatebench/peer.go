package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// contender is what wrk asks.
type contender struct {
	name      string
	url, host string
	headers   string // a file of header lines; each request has one of them
	server    []int  // its processes; none, if it is not on this host
	front     []int  // those of the proxy in front of it
	socket    string // where the proxy asks it; "": at the URL
}

func (p *process) contender(headers string) contender {
	return contender{url: p.asks + verifyPath, host: "localhost", headers: headers, server: []int{p.cmd.Process.Pid}, socket: p.socket}
}

// processor returns the processor time of the server and of the proxy in front of it.
func (c *contender) processor() (server, front time.Duration, err error) {
	sum := func(pids []int) (all time.Duration) {
		for _, pid := range pids {
			d, e := processor(pid)
			all, err = all+d, errors.Join(err, e)
		}
		return all
	}
	server, front = sum(c.server), sum(c.front)
	return server, front, err
}

// peer is another program that decides about a request, as the command line names it:
// a URL, and a header to send.
type peer struct{ url, header string }

// addPeer parses "URL NAME: VALUE". With "@FILE" in place of the value, the file contains
// it, so that other users of the host do not see it among the processes.
func (b *bench) addPeer(text string) error {
	where, header, ok := strings.Cut(text, " ")
	u, err := url.Parse(where)
	name, value, named := strings.Cut(header, ": ")
	if !ok || !named || name == "" || err != nil || u.Scheme != "http" || u.Host == "" {
		return errors.New(`-peer takes "http://HOST:PORT/PATH NAME: VALUE"`)
	}
	if file, ok := strings.CutPrefix(value, "@"); ok {
		secret, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		value = strings.TrimSpace(string(secret))
	}
	b.asked = append(b.asked, peer{where, name + ": " + value})
	return nil
}

// findPeers asks each peer once, and finds its processes.
func (b *bench) findPeers(ctx context.Context) error {
	for n, p := range b.asked {
		a, err := record(http.DefaultTransport, p.url, p.header)
		if err != nil {
			return err
		}
		if a.Status >= http.StatusMultipleChoices {
			return fmt.Errorf("%s answers %d: check its URL and header", p.url, a.Status)
		}
		u, _ := url.Parse(p.url) // parsed before
		file := filepath.Join(b.scratch, "peer"+strconv.Itoa(n))
		if err := os.WriteFile(file, []byte(p.header+"\n"), 0o600); err != nil {
			return err
		}
		c := contender{name: p.url, url: p.url, host: u.Host, headers: file}
		if c.server, err = b.listeners(u); err != nil {
			return err
		}
		b.peers = append(b.peers, c)
	}
	return ctx.Err()
}

// listeners returns the processes of this host that listen at the URL's port. They must run
// on the servers' core, or the figures could not be compared.
func (b *bench) listeners(u *url.URL) (pids []int, err error) {
	addrs, err := net.LookupIP(u.Hostname())
	if err != nil || !slices.ContainsFunc(addrs, net.IP.IsLoopback) {
		return nil, err
	}
	port := 80
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, err
		}
	}
	sockets, err := listening(port)
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !slices.Contains(sockets, target) {
			continue // it has ended, or is another user's
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil || slices.Contains(pids, pid) {
			continue
		}
		if cores, err := status(pid, "Cpus_allowed_list"); err != nil || cores != strconv.Itoa(b.server) {
			return nil, errors.Join(err, fmt.Errorf("the peer at %s runs on the cores %s: taskset -acp %d %d", u.Host, cores, b.server, pid))
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("no process was found that listens at port %d: run this as the peer's user, or as root", port)
	}
	return pids, nil
}

// listening returns the names that /proc/PID/fd gives to the sockets that listen at a TCP
// port (proc_pid_net(5)).
func listening(port int) (names []string, err error) {
	for _, file := range [...]string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			const listens = "0A"
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == listens {
				names = append(names, "socket:["+f[9]+"]")
			}
		}
	}
	return names, nil
}
