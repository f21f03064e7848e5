package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/server/textfile"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

func scanCommand(env Env) *cobra.Command {
	some := func(c *cobra.Command, args []string) error {
		if len(args) == 0 || slices.Contains(args, "") {
			return Usagef("%s takes the files and directories to look through, or - for standard input", c.CommandPath())
		}
		return nil
	}
	s := &scan{env: env, agreed: consent{env: env}}
	c := command("scan PATH…|-", "Find this installation's tokens in files or standard input, and revoke them", some, env.with(s.run))
	c.PreRunE = func(*cobra.Command, []string) error {
		if s.agreed.yes && !s.revoke {
			return Usagef("--yes goes with --revoke: without it nothing is revoked")
		}
		return nil
	}
	c.Long = `Find this installation's tokens in files, in directories and everything below them, or
in standard input (-). UTF-16 with a byte-order mark is read too. The exit status is 6 if
a token works, and 0 if none does.

With --revoke, the tokens that work are revoked for good, and so are those of disabled
and suspended users, which would work again. The states printed and the exit status are
those from before. On a terminal the command asks first; elsewhere it does not, so that
a hook can use it.`
	c.Flags().BoolVar(&s.revoke, "revoke", false, "revoke the tokens that are found")
	jsonFlag(c, &s.asJSON, "print one object a line, with path, line, id and state")
	s.agreed.flag(c)
	return c
}

// scan is one run of the command. It collects what has the form of a token and
// asks the server about it in batches; the text itself is never shown.
type scan struct {
	env    Env
	client *api.Client
	finder *finder
	revoke bool
	asJSON bool
	agreed consent

	path     string
	suspects []suspect
	works    int // places with a token that works
	unread   int // paths that could not be read

	finds   []api.Find        // to be revoked
	taken   map[string]string // the tokens that are or were in finds, by ID, and their state before
	revoked int
}

func (s *scan) run(ctx context.Context, c *api.Client, args []string) error {
	if s.revoke {
		return by(api.Operator, s.all)(ctx, c, args)
	}
	return s.all(ctx, c, args)
}

// all looks through all paths. If an input can no longer be read, what was found before
// still counts.
func (s *scan) all(ctx context.Context, c *api.Client, args []string) (err error) {
	s.client, s.taken = c, map[string]string{}
	s.finder = newFinder(func(line int, token string) error { return s.suspect(ctx, line, token) })
	for _, path := range args {
		if err = s.lookThrough(ctx, path); err != nil {
			break
		}
	}
	if ctx.Err() == nil {
		err = errors.Join(err, s.ask(ctx))
	}
	if err == nil && s.asks() {
		err = s.confirm(ctx)
	}
	if s.revoked > 0 {
		s.env.say("Revoked %s.", Count(s.revoked, "token"))
	}
	if err != nil {
		return err
	}
	return s.result()
}

// confirm revokes what was found if somebody at the terminal agrees.
func (s *scan) confirm(ctx context.Context) error {
	if len(s.finds) == 0 {
		return nil
	}
	err := s.agreed.ask(ctx, fmt.Sprintf("Revoke %s for good?", Count(len(s.finds), "token")))
	if errors.Is(err, errKept) {
		s.env.say("Nothing was revoked.")
		return nil
	}
	if err != nil {
		return err
	}
	return s.end(ctx)
}

// asks reports whether somebody is asked before anything is revoked.
func (s *scan) asks() bool { return !s.agreed.yes && s.env.Password != nil }

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

// place says where a suspect is, for the audit log: of a long path, only the end.
func (s suspect) place() string {
	place := fmt.Sprintf("%s:%d", text.Escape(s.path), s.line)
	if len(place) <= api.MaxPlace {
		return place
	}
	return "…" + strings.ToValidUTF8(place[len(place)-api.MaxPlace+len("…"):], "")
}

// lookThrough reads a path or, for "-", standard input. A path that somebody names is read
// even if it is a symbolic link or a pipe, such as the shell's <(zcat log.gz).
func (s *scan) lookThrough(ctx context.Context, path string) error {
	if path == "-" {
		s.path = "-"
		return s.finder.read(ctx, textfile.Reader(s.env.In))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return s.walk(ctx, path)
	}
	f, err := os.Open(path)
	if err != nil {
		s.cannot(path, err)
		return nil
	}
	return s.read(ctx, path, f)
}

// walk looks through all files beneath a directory. Symbolic links are not followed, and
// devices, pipes and sockets are not read.
func (s *scan) walk(ctx context.Context, root string) error {
	root = strings.TrimSuffix(root, "/") + "/" // the directory, if it is a link to one
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.cannot(path, err)
		case d.Type().IsRegular():
			return s.file(ctx, path)
		}
		return nil
	})
}

// file looks through a file of a directory. A pipe or a symbolic link that has taken the
// file's place since the directory was read can neither block it nor lead it elsewhere.
func (s *scan) file(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		s.cannot(path, err)
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil
	}
	return s.read(ctx, path, f)
}

// read looks through an open file and closes it.
func (s *scan) read(ctx context.Context, path string, f *os.File) error {
	defer f.Close()
	s.path = path
	err := s.finder.read(ctx, textfile.Reader(f))
	if bad, ok := errors.AsType[*fs.PathError](err); ok && bad.Path == path {
		s.cannot(path, err)
		return nil
	}
	return err
}

// cannot reports that a file could not be read. The scan continues.
func (s *scan) cannot(path string, err error) {
	if bad, ok := errors.AsType[*fs.PathError](err); ok {
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
		s.find(s.suspects[i], t)
	}
	if s.revoke && !s.asks() {
		err = s.end(ctx) // before the output, which may be a pipe that nobody reads any more
	}
	for i, t := range found.Tokens {
		if t.ID == "" {
			continue
		}
		if bad := s.print(s.suspects[i], t); bad != nil {
			return errors.Join(err, bad)
		}
	}
	s.suspects = s.suspects[:0]
	return err
}

// find notes a token that is to be revoked.
func (s *scan) find(at suspect, t api.Sighting) {
	_, again := s.taken[t.ID]
	if !s.revoke || again || t.State != api.StateLive && t.State != api.StateSuspended {
		return
	}
	s.taken[t.ID] = t.State
	s.finds = append(s.finds, api.Find{Token: at.token, Place: at.place()})
}

// end revokes what was found.
func (s *scan) end(ctx context.Context) error {
	for part := range slices.Chunk(s.finds, api.MaxFinds) {
		n, err := s.client.RevokeFound(ctx, api.Finds{Finds: part})
		if err != nil {
			return err
		}
		s.revoked += n.Revoked
	}
	s.finds = s.finds[:0]
	return nil
}

// print prints a token that was found. One that this scan has revoked is printed as it was
// before, however often it is found.
func (s *scan) print(at suspect, t api.Sighting) error {
	if before, ok := s.taken[t.ID]; ok && t.State == api.StateRevoked {
		t.State = before
	}
	if t.State == api.StateLive {
		s.works++
	}
	if s.asJSON {
		return export.Line(s.env.Out, sighting{at.path, at.line, t.ID, t.State})
	}
	_, err := fmt.Fprintf(s.env.Out, "%s:%d %s %s\n", text.Escape(at.path), at.line, t.ID, t.State)
	return err
}

// sighting is what scan --json prints.
type sighting struct {
	Path  string `json:"path"`
	Line  int    `json:"line"`
	ID    string `json:"id"`
	State string `json:"state"`
}
