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
	"unicode/utf8"

	"golang.org/x/term"

	"gatehouse/server/textfile"
)

// maxPassword is the longest password that the server hashes, in bytes.
const maxPassword = 256

// Terminal returns Env.Password for the process: nil unless in is a terminal.
// Prompts go to prompts. An interrupt while it waits gives an error, with the
// terminal's echo back on.
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
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		fmt.Fprint(prompts, prompt)
		defer fmt.Fprintln(prompts)
		p, err := await(ctx, func() (string, error) {
			b, err := term.ReadPassword(fd)
			return string(b), err
		})
		if errors.Is(err, errInterrupted) {
			term.Restore(fd, before)
		}
		return p, err
	}
}

var errInterrupted = errors.New("interrupted")

// await calls read, but returns errInterrupted as soon as ctx ends: what is typed
// after an interrupt is no answer.
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

// line reads a line of standard input.
func (env Env) line(ctx context.Context) (string, error) {
	return await(ctx, func() (string, error) {
		s, err := textfile.ReadLine(env.In, maxPassword)
		if errors.Is(err, textfile.ErrTooLong) {
			err = errTooLong
		}
		return s, err
	})
}

// password returns the password for a user: from standard input, or asked for
// on the terminal. Empty means that the server is to make one.
func (env Env) password(ctx context.Context, stdin bool) (string, error) {
	switch {
	case stdin:
		p, err := env.line(ctx)
		if err != nil {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		if p == "" {
			return "", errors.New("the password on standard input is empty")
		}
		return p, checkPassword(p)
	case env.Password == nil:
		return "", nil
	}
	p, err := env.Password(ctx, "Password (empty: one is made): ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if p == "" {
		return "", nil
	}
	if err := checkPassword(p); err != nil {
		return "", err
	}
	again, err := env.Password(ctx, "Again: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if again != p {
		return "", errors.New("the two passwords differ")
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

// confirm asks a question that only "y" or "yes" answers.
func (env Env) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(env.Err, "%s [y/N] ", question)
	answer, err := env.line(ctx)
	if err != nil {
		fmt.Fprintln(env.Err)
		return false, fmt.Errorf("read the answer: %w", err)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}
