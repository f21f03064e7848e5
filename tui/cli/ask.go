package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"gatehouse/server/textfile"
)

// maxPassword is the longest password that the server hashes, in bytes.
const maxPassword = 256

// Terminal returns Env.Password for the process: nil unless in is a terminal.
// Prompts go to prompts. An interrupt while it waits gives an error, with the
// terminal's echo back on. Control-D instead of a line is io.EOF.
func Terminal(in *os.File, prompts io.Writer) func(context.Context, string) (string, error) {
	fd := int(in.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return func(ctx context.Context, prompt string) (string, error) {
		before, err := term.GetState(fd)
		if err != nil {
			return "", fmt.Errorf("read the terminal's settings: %w", err)
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		fmt.Fprint(prompts, prompt)
		defer fmt.Fprintln(prompts)
		if err := hide(fd); err != nil {
			return "", fmt.Errorf("turn off the terminal's echo: %w", err)
		}
		defer term.Restore(fd, before)
		return await(ctx, func() (string, error) { return textfile.ReadLine(in, longestLine) })
	}
}

// longestLine is the longest line that a terminal passes on, in bytes (termios(3)). It is
// read to its end: the shell would take the rest of a long password for a command.
const longestLine = 4096

// hide turns off the echo of a terminal. [term.ReadPassword] does too, but then it goes on
// reading at a control-D.
func hide(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Lflag = t.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	t.Iflag |= unix.ICRNL
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

var errInterrupted = errors.New("interrupted")

// await calls read, but returns errInterrupted as soon as ctx ends: what is typed
// after an interrupt is not an answer.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1) // a read can't be cancelled: it ends with the process
	go func() {
		s, err := read()
		lines <- line{s, err}
	}()
	select {
	case l := <-lines:
		if ctx.Err() == nil {
			return l.text, l.err
		}
	case <-ctx.Done():
	}
	return "", errInterrupted
}

// line reads a line of standard input. At its end it returns io.EOF.
func (env Env) line(ctx context.Context) (string, error) {
	return await(ctx, func() (string, error) {
		s, err := textfile.ReadLine(env.In, maxPassword)
		if errors.Is(err, textfile.ErrTooLong) {
			err = errTooLong
		}
		return s, err
	})
}

// password returns the password for a user. It reads standard input, or asks on the
// terminal. Empty means that the server makes one.
func (env Env) password(ctx context.Context, stdin bool) (string, error) {
	switch {
	case stdin:
		p, err := env.line(ctx)
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		if p == "" {
			return "", errors.New("the password on standard input is empty")
		}
		return p, checkPassword(p)
	case env.Password == nil:
		return "", nil
	}
	p, err := env.typed(ctx, "Password (leave empty to make one): ")
	if err != nil || p == "" {
		return "", err
	}
	if err := checkPassword(p); err != nil {
		return "", err
	}
	again, err := env.typed(ctx, "Password again: ")
	if err != nil {
		return "", err
	}
	if again != p {
		return "", errors.New("the two passwords differ")
	}
	return p, nil
}

// typed asks for a password on the terminal. It rejects what a key such as an arrow types:
// nobody sees that it becomes a part of the password.
func (env Env) typed(ctx context.Context, prompt string) (string, error) {
	p, err := env.Password(ctx, prompt)
	switch {
	case err == io.EOF:
		return "", errors.New("no password was typed, so nothing was changed")
	case err != nil:
		return "", fmt.Errorf("read the password: %w", err)
	case strings.ContainsFunc(p, unicode.IsControl):
		return "", errors.New("the password contains a control character, as from an arrow key: nothing was changed")
	}
	return p, nil
}

func checkPassword(p string) error {
	if len(p) > maxPassword {
		return errTooLong
	}
	if !utf8.ValidString(p) { // JSON would change it on the way to the server
		return errors.New("the password is not UTF-8")
	}
	return nil
}

var errTooLong = fmt.Errorf("longer than %d bytes", maxPassword)

// consent is the user's agreement to what a command can't undo: --yes, or the answer to a
// question on a terminal. Every such command asks for it.
type consent struct {
	env Env
	yes bool
}

// flag adds --yes to a command.
func (a *consent) flag(c *cobra.Command) {
	c.Flags().BoolVar(&a.yes, "yes", false, "do not ask")
}

// required adds --yes to a command that always asks.
func (a *consent) required(c *cobra.Command) {
	a.flag(c)
	c.PreRunE = func(cmd *cobra.Command, _ []string) error { return a.check(cmd.CommandPath()) }
}

// check returns a UsageError if there is neither --yes nor a terminal to ask on. It is
// called before anything is done. What names the command.
func (a *consent) check(what string) error {
	if a.yes || a.env.Password != nil {
		return nil
	}
	return Usagef("without a terminal %s needs --yes", what)
}

// ask returns nil if the user agrees.
func (a *consent) ask(ctx context.Context, question string) error {
	if a.yes {
		return nil
	}
	fmt.Fprintf(a.env.Err, "%s [y/N] ", question)
	answer, err := a.env.line(ctx)
	if err != nil {
		fmt.Fprintln(a.env.Err) // the question is still on this line
	}
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errKept
	}
	return nil
}

// errKept is the error of a command whose question was not answered with yes.
var errKept = errors.New("nothing was changed")
