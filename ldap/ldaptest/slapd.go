// Package ldaptest runs OpenLDAP's slapd for tests, with TLS, a password policy,
// the memberof overlay and the people of testdata/ldap/people.ldif. It is a real
// server, so it accepts, folds, locks and forgets as servers in the field do.
package ldaptest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gatehouse/storage/storagetest"
	"testing"
)

// Slapd is a running server, or one that is stopped for a while.
type Slapd struct {
	Addr    string // 127.0.0.1:port, of ldap://
	TLSAddr string // of ldaps://
	CA      string // the file with the authority of its certificate
	Conf    string // slapd.conf, read at each Start

	t        testing.TB
	path     string
	dir      string
	noTLS    bool
	database string // more lines of the section
	people   string // more entries, in LDIF
	cmd      *exec.Cmd
	ended    chan struct{} // closed when cmd has
	still    bool          // a signal has halted it
	log      storagetest.Log
}

// patience is how long to wait for something that normally comes at once: the machine may
// be busy.
const patience = 5 * time.Minute

// Option changes a server before it starts.
type Option func(*Slapd)

// WithoutTLS makes the server speak plain text only.
func WithoutTLS(s *Slapd) { s.noTLS = true }

// InDatabase adds lines to the section of the database.
func InDatabase(lines string) Option {
	return func(s *Slapd) { s.database += lines + "\n" }
}

// Start runs a server until the test ends. Without slapd the test is skipped or, in CI,
// fails.
func Start(t testing.TB, options ...Option) *Slapd {
	t.Helper()
	s := &Slapd{t: t, path: find(t), dir: t.TempDir()}
	for _, o := range options {
		o(s)
	}
	s.configure()
	s.load()
	s.Start()
	t.Cleanup(s.Stop)
	// Added over LDAP, because the memberof overlay sees nothing else.
	s.Add(Staff, map[string][]string{
		"objectClass": {"groupOfNames"}, "cn": {"staff"}, "member": {Person("alice"), `cn=Zoë\, née Müller,` + People},
	})
	return s
}

func find(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"slapd", "/usr/sbin/slapd", "/usr/local/libexec/slapd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	const missing = "slapd is missing: install Debian's package slapd"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// Start runs a stopped server again, on the ports it had, and waits until it
// answers.
func (s *Slapd) Start() {
	s.t.Helper()
	for first := s.Addr == ""; ; {
		if first {
			s.Addr, s.TLSAddr = storagetest.FreePort(s.t), storagetest.FreePort(s.t)
		}
		if s.run() {
			return
		}
		// Another test may have taken a port since it was found free.
		if !first || !strings.Contains(s.Log(), "Address already in use") {
			s.t.Fatalf("slapd does not run:\n%s", s.Log())
		}
		s.log.Take()
	}
}

// run starts the server. It returns false if the server ends instead of answering.
func (s *Slapd) run() bool {
	s.t.Helper()
	listen, addrs := "ldap://"+s.Addr, []string{s.Addr}
	if !s.noTLS {
		listen += " ldaps://" + s.TLSAddr
		addrs = append(addrs, s.TLSAddr) // which slapd opens after the other
	}
	cmd, ended := exec.Command(s.path, "-f", s.Conf, "-h", listen, "-d", "stats"), make(chan struct{})
	cmd.Stderr = &s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(ended)
	}()
	s.cmd, s.ended, s.still = cmd, ended, false
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-ended:
			s.cmd = nil
			return false
		case <-time.After(10 * time.Millisecond):
		}
		c, err := net.Dial("tcp", addrs[0])
		if err != nil {
			continue
		}
		c.Close()
		if addrs = addrs[1:]; len(addrs) == 0 {
			return true
		}
	}
	s.Stop()
	s.t.Fatalf("slapd does not answer within %v:\n%s", patience, s.Log())
	return false
}

// Stop kills the server, even one that is halted.
func (s *Slapd) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

// Signal sends the server a signal.
func (s *Slapd) Signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	if s.still = sig == syscall.SIGSTOP; s.still {
		s.halted()
	}
}

// halted waits until every thread of the server has stopped (proc_pid_stat(5): state T).
// Until then, one more answer could come although the signal was sent.
func (s *Slapd) halted() {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		running := false
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			_, state, _ := strings.Cut(string(b), ") ")
			running = running || err == nil && !strings.HasPrefix(state, "T")
		}
		if !running {
			return
		}
	}
	s.t.Fatalf("slapd is not halted within %v", patience)
}
