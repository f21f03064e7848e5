package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// childDir is the variable with which a test runs this binary again, as a
// process that holds a store and can be killed.
const childDir = "GATEHOUSE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(childMain(dir))
	}
	if dir := os.Getenv(openDir); dir != "" {
		os.Exit(openMain(dir))
	}
	os.Exit(m.Run())
}

// childMain serves a store on standard input and output until they close.
func childMain(dir string) int {
	s, err := storage.Open(dir, storage.Options{MaxPerUser: 1 << 20, Segment: storagetest.Segment, Early: true, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Store", &Child{s}); err != nil {
		panic(err)
	}
	server.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		return 1
	}
	return 0
}

// Child has the methods that the process offers. It is exported for net/rpc.
type Child struct{ s *storage.Store }

// None is for calls that take or return nothing.
type None struct{}

// Made is a new token.
type Made struct {
	ID     storage.ID
	Secret string
}

// Ask asks for a token.
type Ask struct {
	Owner   storage.UserID
	Name    string
	Limited bool
}

func (c *Child) AddUser(uid string, id *storage.UserID) error {
	u, err := c.s.AddUser(admin, uid, "", "hash")
	*id = u.ID
	return err
}

func (c *Child) Create(a Ask, m *Made) error {
	spec := storage.TokenSpec{Name: a.Name}
	if a.Limited {
		spec.Scopes = []string{"files"}
	}
	t, secret, err := c.s.CreateToken(admin, a.Owner, spec)
	*m = Made{t.ID, secret.Reveal()}
	return err
}

// Use reports whether the token is live.
func (c *Child) Use(secret string, live *bool) error {
	_, err := c.s.Authenticate(secret, home)
	*live = err == nil
	if errors.Is(err, storage.ErrRefused) {
		return nil
	}
	return err
}

func (c *Child) Revoke(id storage.ID, n *int) (err error) {
	*n, err = c.s.RevokeTokens(admin, id)
	return err
}

// Listed is a line of a listing.
type Listed struct {
	ID   storage.ID
	Name string
}

// List lists a user's tokens on one page: only a page shows them as of one moment.
func (c *Child) List(owner storage.UserID, listed *[]Listed) error {
	list, _, err := c.s.Page(storage.Owned{Owner: owner, Limit: 1 << 30})
	for _, t := range list {
		*listed = append(*listed, Listed{t.ID, t.Name})
	}
	return err
}

// Behind reports whether the index lacks records of the journal.
func (c *Child) Behind(_ None, behind *bool) error {
	*behind = c.s.Index().Behind() != nil
	return nil
}

// Opened waits until the index is open.
func (c *Child) Opened(_ None, _ *None) error { return c.s.Opening().Await() }

// Checkpoint makes a checkpoint.
func (c *Child) Checkpoint(_ None, _ *None) error {
	return c.s.Checkpoint(context.Background())
}

func (c *Child) Writable(_ None, _ *None) error { return c.s.Writable() }

// child is a process that holds a store.
type child struct {
	*rpc.Client
	t      testing.TB
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	once   sync.Once
	ended  error
}

func startChild(t testing.TB, dir string) *child {
	t.Helper()
	c := &child{t: t, stderr: new(bytes.Buffer), cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childDir+"="+dir)
	c.cmd.Stderr = c.stderr
	in := must.Get(c.cmd.StdinPipe())(t)
	out := must.Get(c.cmd.StdoutPipe())(t)
	must.Do(t, c.cmd.Start())
	c.Client = rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	t.Cleanup(func() { c.cmd.Process.Kill(); c.wait() })
	if err := c.Call("Store.Behind", None{}, new(bool)); err != nil {
		c.dead(err)
	}
	return c
}

func (c *child) wait() error {
	c.once.Do(func() { c.ended = c.cmd.Wait() })
	return c.ended
}

// dead ends the test because the process has ended.
func (c *child) dead(err error) {
	c.t.Helper()
	c.cmd.Process.Kill()
	c.wait()
	c.t.Fatalf("the process is gone: %v, %v\n%s", err, c.ended, tail(c.stderr.String()))
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	if len(lines) > 60 {
		lines = slices.Concat(lines[:30], []string{"..."}, lines[len(lines)-30:])
	}
	return strings.Join(lines, "\n")
}

// kill ends the process as the kernel or an impatient person would.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.wait()
}

// stop ends the process as SIGTERM would, and wants it to end well.
func (c *child) stop() {
	c.t.Helper()
	c.Close()
	timer := time.AfterFunc(patience, func() { c.cmd.Process.Signal(syscall.SIGQUIT) }) // dumps all stacks
	defer timer.Stop()
	if err := c.wait(); err != nil {
		c.t.Fatalf("stopped: %v\n%s", err, tail(c.stderr.String()))
	}
}

// call fails the test if the process is gone. It returns errors of the store.
func (c *child) call(method string, args, reply any) error {
	err := c.Call("Store."+method, args, reply)
	var said rpc.ServerError
	if err != nil && !errors.As(err, &said) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if err != nil {
		return said
	}
	return nil
}

var errGone = errors.New("the process is gone")

func gone(err error) bool { return errors.Is(err, errGone) }
