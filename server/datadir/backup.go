package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gatehouse/server/textfile"
	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
)

// errExists refuses to write a backup over an existing file.
var errExists = errors.New("the file exists: name another, or add --force to replace it")

// Backup writes a snapshot to a temporary file next to the named one, checks it
// by reading it again, and gives it its name. It replaces a file that exists only if
// force is set. A pipe or a device is written to directly, as BackupTo does. Progress
// goes to the terminal, if there is one.
func (d Dir) Backup(ctx context.Context, file string, force bool) (m backup.Manifest, err error) {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		f, err := d.open(ctx, file, info, os.O_WRONLY, "waiting for somebody to read the backup from it")
		if err != nil {
			return m, err
		}
		defer f.Close()
		defer context.AfterFunc(ctx, func() { f.Close() })() // the reader of a pipe may have stopped
		return d.BackupTo(ctx, f)
	}
	if _, err := os.Lstat(file); err == nil {
		if !force {
			return m, errExists
		}
		// The file is replaced, not a link to it.
		if file, err = filepath.EvalSymlinks(file); err != nil {
			return m, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return m, disk.Nameless(err)
	}
	defer os.Remove(f.Name()) // does nothing after a rename
	defer f.Close()
	check := func() error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return disk.Nameless(err)
		}
		if m, err = backup.Check(temporary{f}); err != nil {
			return brokenOff(err)
		}
		return disk.Nameless(f.Sync())
	}
	err = d.snapshot(ctx, temporary{f}, check, func() error { return disk.Nameless(giveName(f.Name(), file, force)) })
	return m, err
}

// temporary is a file that has no name for the user yet. The caller of Backup names the file
// that the user has given.
type temporary struct{ f *os.File }

func (t temporary) Read(b []byte) (int, error) {
	n, err := t.f.Read(b)
	return n, disk.Nameless(err)
}

func (t temporary) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	return n, disk.Nameless(err)
}

// giveName renames a file. Without force it replaces no file, not even one that appeared
// while the backup was written: unlike a rename, a link fails if its name is taken.
func giveName(from, to string, force bool) error {
	if force {
		return os.Rename(from, to)
	}
	err := os.Link(from, to)
	if err == nil {
		return nil
	}
	if _, missing := os.Lstat(to); !errors.Is(missing, fs.ErrNotExist) {
		return errExists
	}
	return os.Rename(from, to) // the file system has no hard links
}

func brokenOff(err error) error {
	return fmt.Errorf("the server stopped sending (its log says why): %w", err)
}

// BackupTo writes a snapshot to something that can't be read again, such as a pipe, and
// checks it on the way. Only the error tells that such a snapshot is incomplete.
func (d Dir) BackupTo(ctx context.Context, w io.Writer) (m backup.Manifest, err error) {
	read, written := io.Pipe()
	checked := make(chan struct{})
	var bad error
	go func() {
		defer close(checked)
		m, bad = backup.Check(read)
		io.Copy(io.Discard, read) // or the writer would wait for a reader
	}()
	check := func() error {
		written.Close()
		if <-checked; bad != nil {
			return brokenOff(bad)
		}
		return nil
	}
	err = d.snapshot(ctx, io.MultiWriter(w, written), check, func() error { return nil })
	check() // no more is written to m
	return m, err
}

// snapshot writes a snapshot that the server sends or, if none runs, that this process
// takes. If check then finds it whole, place gives it its name, and it counts as the last
// backup. To take it, root acts as the store's owner, and becomes root again before place:
// the backup goes where root wants it.
func (d Dir) snapshot(ctx context.Context, w io.Writer, check, place func() error) error {
	back := func() error { return nil }
	client, err := d.client(ctx, func(dir string) (err error) {
		back, err = disk.ActAsOwner(dir)
		return err
	})
	if err != nil {
		return errors.Join(err, back())
	}
	p := &progress{out: d.Terminal, verb: "written"}
	err = client.Backup(ctx, io.MultiWriter(w, p))
	p.end()
	if err == nil {
		err = check()
	}
	running := !client.Offline()
	if err == nil && running {
		err = place()
	}
	if err == nil {
		if bad := client.NoteBackup(ctx); bad != nil {
			fmt.Fprintf(d.Messages, "The backup is complete, but the server could not note its time: %v\n", bad)
		}
	}
	if err = errors.Join(err, client.Close(), back()); err == nil && !running {
		err = place() // after it was noted, for which the store had to be open
	}
	return err
}

// OpenBackup opens a backup. For a pipe it says that it waits for a writer; a signal ends
// the wait.
func (d Dir) OpenBackup(ctx context.Context, file string) (io.ReadCloser, error) {
	info, err := os.Stat(file)
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return textfile.Open(file)
	}
	return d.open(ctx, file, info, os.O_RDONLY, "waiting for a backup to be written to it")
}

// open opens something that is not a regular file. For a pipe it says that it waits for
// the other end; a signal ends the wait.
func (d Dir) open(ctx context.Context, file string, info fs.FileInfo, flag int, waiting string) (*os.File, error) {
	if info.Mode()&fs.ModeNamedPipe == 0 {
		return os.OpenFile(file, flag, 0)
	}
	fmt.Fprintf(d.Messages, "%s is a pipe: %s.\n", file, waiting)
	return within(ctx, func() (*os.File, error) { return os.OpenFile(file, flag, 0) })
}

// within calls do, and stops waiting for it when ctx ends.
func within[T any](ctx context.Context, do func() (T, error)) (out T, err error) {
	type done struct {
		out T
		err error
	}
	c := make(chan done, 1)
	go func() {
		out, err := do()
		c <- done{out, err}
	}()
	select {
	case d := <-c:
		return d.out, d.err
	case <-ctx.Done():
		return out, ctx.Err()
	}
}

// patient is a reader that stops waiting when ctx ends, even if the read still blocks, as
// for a pipe without a writer.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	own, err := within(p.ctx, func() ([]byte, error) {
		own := make([]byte, len(b)) // a read that goes on must not write into b
		n, err := p.r.Read(own)
		return own[:n], err
	})
	return copy(b, own), err
}

// steps reports what a restore does: on a terminal in one line for each step, elsewhere
// from time to time.
type steps struct {
	out      io.Writer
	terminal bool
	step     string
	shown    time.Time
}

func (p *steps) say(step string, done, of int) {
	often := 10 * time.Second
	if p.terminal {
		often = 100 * time.Millisecond
	}
	if p.step != step {
		p.end()
		p.step = step
		if !p.terminal {
			p.shown = time.Now() // short ones are not worth a word
		}
	}
	if time.Since(p.shown) < often {
		return
	}
	p.shown = time.Now()
	text := step
	if of > 0 {
		text = fmt.Sprintf("%s: %d of %d", step, done, of)
	} else if done > 0 {
		text = fmt.Sprintf("%s: %d", step, done)
	}
	if p.terminal {
		fmt.Fprintf(p.out, "\r%s", text)
	} else {
		fmt.Fprintln(p.out, text)
	}
}

func (p *steps) end() {
	if p.terminal && p.step != "" {
		fmt.Fprintln(p.out)
	}
}

// progress shows on a terminal how many megabytes have passed.
type progress struct {
	out   io.Writer // nil: no terminal
	verb  string
	bytes int64
	shown time.Time
}

func (p *progress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	if p.out != nil && time.Since(p.shown) > 100*time.Millisecond {
		p.shown = time.Now()
		fmt.Fprintf(p.out, "\r%d MB %s", p.bytes/1e6, p.verb)
	}
	return len(b), nil
}

func (p *progress) end() {
	if p.out != nil && p.bytes > 0 {
		fmt.Fprintf(p.out, "\r%d MB %s\n", p.bytes/1e6, p.verb)
	}
}
