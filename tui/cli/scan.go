package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/server/textfile"
	"gatehouse/tui/text"
)

func scanCommand(env Env) *cobra.Command {
	some := func(c *cobra.Command, args []string) error {
		if len(args) == 0 || slices.Contains(args, "") {
			return Usagef("%s takes the files and directories to look through, or - for standard input", c.CommandPath())
		}
		return nil
	}
	c := command("scan PATH…|-", "Find this installation's tokens in files or standard input", some, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			s := &scan{env: env, client: c}
			s.finder = newFinder(func(line int, token string) error { return s.suspect(ctx, line, token) })
			for _, path := range args {
				if err := s.lookThrough(ctx, path); err != nil {
					return err
				}
			}
			if err := s.ask(ctx); err != nil {
				return err
			}
			return s.result()
		}))
	c.Long = `Find this installation's tokens in files, in directories and everything below them, or
in standard input (-). UTF-16 with a byte-order mark is read too. The exit status is 6 if
a token works, and 0 if none does.`
	return c
}

// scan is one run of the command. It collects what has the form of a token and
// asks the server about it in batches; the text itself is never shown.
type scan struct {
	env    Env
	client *api.Client
	finder *finder

	path     string
	suspects []suspect
	works    int // tokens that work
	unread   int // paths that could not be read
}

// result says how the scan ended. A token that was found matters more than a file that
// could not be read, which has been reported already.
func (s *scan) result() error {
	switch {
	case s.works > 0:
		return &foundError{s.works}
	case s.unread > 0:
		return fmt.Errorf("%s could not be read", Count(s.unread, "path"))
	}
	return nil
}

// foundError says that a scan found tokens that work.
type foundError struct{ places int }

func (e *foundError) Error() string {
	return "found tokens that work in " + Count(e.places, "place")
}

type suspect struct {
	path  string
	line  int
	token string
}

// lookThrough reads a path or, for "-", standard input.
func (s *scan) lookThrough(ctx context.Context, path string) error {
	if path != "-" {
		return s.walk(ctx, path)
	}
	s.path = "-"
	return s.finder.read(ctx, textfile.Reader(s.env.In))
}

// walk looks through a file, or all that is beneath a directory. Symbolic links
// are not followed, and devices, pipes and sockets are not read.
func (s *scan) walk(ctx context.Context, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.cannot(path, err)
		case d.Type().IsRegular():
			return s.read(ctx, path)
		case path == root && !d.IsDir():
			s.env.say("%s is neither a file nor a directory: skipped.", text.Escape(path))
		}
		return nil
	})
}

// read looks through a file. A pipe or a symbolic link that has taken the file's
// place since the directory was read can neither block it nor lead it elsewhere.
func (s *scan) read(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		s.cannot(path, err)
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	s.path = path
	err = s.finder.read(ctx, textfile.Reader(f))
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) && bad.Path == path {
		s.cannot(path, err)
		return nil
	}
	return err
}

// cannot reports that a file could not be read. The scan continues.
func (s *scan) cannot(path string, err error) {
	if bad := (*fs.PathError)(nil); errors.As(err, &bad) {
		err = bad.Err
	}
	s.env.say("%s: %v", text.Escape(path), err)
	s.unread++
}

func (s *scan) suspect(ctx context.Context, line int, token string) error {
	s.suspects = append(s.suspects, suspect{s.path, line, token})
	if len(s.suspects) < api.MaxTexts {
		return nil
	}
	return s.ask(ctx)
}

// ask has the server say which of the suspects are tokens of its own.
func (s *scan) ask(ctx context.Context) error {
	if len(s.suspects) == 0 {
		return nil
	}
	var q api.Texts
	for _, one := range s.suspects {
		q.Texts = append(q.Texts, one.token)
	}
	found, err := s.client.Identify(ctx, q)
	if err != nil {
		return err
	}
	if len(found.Tokens) != len(s.suspects) {
		return errors.New("the server's reply does not match the question")
	}
	for i, t := range found.Tokens {
		if t.ID == "" {
			continue
		}
		if t.State == api.StateLive {
			s.works++
		}
		if _, err := fmt.Fprintf(s.env.Out, "%s:%d %s %s\n", text.Escape(s.suspects[i].path), s.suspects[i].line, t.ID, t.State); err != nil {
			return err
		}
	}
	s.suspects = s.suspects[:0]
	return nil
}
