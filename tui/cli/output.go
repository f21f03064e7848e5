package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gatehouse/server/api"
)

// Output is a standard output that remembers a failed write. Some of what writes to it,
// such as cobra's help, returns no error, and a command that lost its data must not exit
// with status 0.
type Output struct {
	file *os.File

	mu  sync.Mutex
	err error
}

// NewOutput returns an Output that writes to the file.
func NewOutput(f *os.File) *Output { return &Output{file: f} }

func (o *Output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// Close closes the file, which is when some file systems report that they are full. It
// returns the first error of all writes.
func (o *Output) Close() error {
	err := o.file.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	return err
}

// errNowhere refuses to print a secret where it would be lost.
var errNowhere = errors.New("standard output is closed")

// deliver writes the only copy of something, and checks as far as possible that it
// arrived: if it goes to a file, on the disk.
func (o *Output) deliver(secret []byte) error {
	if closed(o.file) {
		return errNowhere
	}
	if _, err := o.Write(secret); err != nil {
		return err
	}
	if info, err := o.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return o.file.Sync() // some file systems find out here that they are full
}

// closed reports whether the process was started without this file. Go's runtime has
// then opened /dev/null in its place, for reading and writing, which no shell does.
func closed(f *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return true
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err != nil || flags&unix.O_ACCMODE == unix.O_RDWR
}

// deliver prints the only copy of something, on a line. It gives up when ctx ends,
// since nobody may be reading the pipe that it writes to.
func (env Env) deliver(ctx context.Context, secret string) error {
	line := []byte(secret + "\n")
	done := make(chan error, 1)
	go func() {
		if o, ok := env.Out.(*Output); ok {
			done <- o.deliver(line)
			return
		}
		_, err := env.Out.Write(line)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errInterrupted
	}
}

// handingOut is with, for a command that prints the only copy of what it makes. A reader
// that has gone, or a terminal that was closed, does not end the process between the
// making and the printing. The action uses the context call for its calls to the server.
// That context does not end, because nobody would know what the server did after a call
// was given up.
func (env Env) handingOut(least api.Role, do func(ctx, call context.Context, c *api.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		pipe := make(chan os.Signal, 1)
		signal.Notify(pipe, syscall.SIGPIPE) // now a write to a pipe without a reader is an error like any other
		defer signal.Stop(pipe)
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
		defer stop()
		cmd.SetContext(ctx)
		return env.with(by(least, func(ctx context.Context, c *api.Client, args []string) error {
			return do(ctx, context.WithoutCancel(ctx), c, args)
		}))(cmd, args)
	}
}
