package storage_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// openDir is the variable with which a test runs this binary again, to open a store,
// wait until it is completely open, and close it.
const openDir = "GATEHOUSE_TEST_OPEN"

func openMain(dir string) int {
	s, err := storage.Open(dir, storage.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	<-s.Opening().Compared()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		return 2
	}
	return 0
}

// refusing runs openMain with a command that makes the system refuse something.
func refusing(dir string, command ...string) (exit int, said string) {
	cmd := exec.Command(command[0], append(command[1:], os.Args[0])...)
	cmd.Env = append(os.Environ(), openDir+"="+dir)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// systemStores makes one store after a stop and one after a kill, with all kinds of
// files.
func systemStores(t *testing.T) (dirs map[string]string, tokens []Made) {
	t.Helper()
	made := t.TempDir()
	c := startChild(t, made)
	var owner storage.UserID
	must.Do(t, c.call("AddUser", "alice@example.com", &owner))
	for i := range 20 {
		var m Made
		must.Do(t, c.call("Create", Ask{Owner: owner, Name: fmt.Sprint(i)}, &m))
		var live bool
		if err := c.call("Use", m.Secret, &live); err != nil || !live {
			t.Fatal(live, err)
		}
		tokens = append(tokens, m)
	}
	must.Do(t, c.call("Checkpoint", None{}, new(None)))
	killed := copyDir(t, made)
	c.stop()
	return map[string]string{"stop": made, "kill": killed}, tokens
}

// TestRefusedWhileOpening makes the system refuse each call on each file of a store that
// is being opened, for each reason. The store never takes that for damage: it opens
// anyway, or returns the system's error without advice to restore a backup. Nothing is
// lost: the next start finds everything, and need not build the index again. Under the race
// detector it tries a fifth.
func TestRefusedWhileOpeningEachWay(t *testing.T) {
	storagetest.Slow(t)
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is missing")
		}
		t.Skip("strace is missing: install Debian's package strace")
	}
	dirs, tokens := systemStores(t)
	for after, dir := range dirs {
		var files []string
		must.Do(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, path)
			if rel != "." && rel != "ballast" {
				files = append(files, rel)
			}
			return err
		}))
		for i, file := range files {
			t.Run(after+" "+file, func(t *testing.T) {
				t.Parallel()
				for j, inject := range []string{
					"openat:error=EMFILE", "openat:error=ENOMEM", "openat:error=EIO", "openat:error=EACCES", "openat:error=ENOSPC",
					"read,pread64,getdents64:error=EIO", "mmap:error=ENOMEM", "fstat,newfstatat,ftruncate,fallocate,write,pwrite64:error=EIO", "fsync,fdatasync,msync:error=EIO",
				} {
					if !tries(i + j) {
						continue
					}
					refusedWhileOpening(t, dir, file, inject, tokens)
				}
			})
		}
	}
}

func refusedWhileOpening(t *testing.T, from, file, inject string, tokens []Made) {
	t.Helper()
	dir := copyDir(t, from)
	exit, said := refusing(dir, "strace", "-f", "-qq", "-o", os.DevNull, "-P", filepath.Join(dir, file), "-e", "inject="+inject)
	wrong := func(format string, args ...any) {
		t.Errorf("%s: %s\nexit %d, it said:\n%s", inject, fmt.Sprintf(format, args...), exit, said)
	}
	if exit < 0 || exit > 2 {
		wrong("the process was ended")
	}
	for _, bad := range []string{storage.ErrDamaged.Error(), "restore", "panic", "built again"} {
		if strings.Contains(said, bad) {
			wrong("it says %q", bad)
		}
	}
	var log bytes.Buffer
	s, err := storage.Open(dir, storage.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		wrong("then: %v", err)
		return
	}
	defer s.Close()
	select {
	case <-s.Opening().Compared():
	case <-time.After(patience):
		wrong("then it hangs")
	}
	// After a failed sync, Badger's list of tables may lack the last ones.
	if strings.Contains(log.String(), "built again") && !strings.HasPrefix(inject, "fsync") {
		wrong("then the index is built again: %s", &log)
	}
	for _, m := range tokens {
		if _, err := s.Authenticate(m.Secret, home); err != nil {
			wrong("then a token is gone: %v", err)
			return
		}
	}
}

// TestFewFilesWhileOpening opens a store with every limit of open files that is too low,
// up to the first one that suffices.
func TestFewFilesWhileOpening(t *testing.T) {
	storagetest.Slow(t)
	t.Parallel()
	dirs, _ := systemStores(t)
	for after, dir := range dirs {
		for limit := 6; ; limit++ {
			exit, said := refusing(dir, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0"`, limit))
			if exit == 0 {
				break
			}
			if limit > 200 {
				t.Fatalf("%s: it needs more than %d files:\n%s", after, limit, said)
			}
			for _, bad := range []string{storage.ErrDamaged.Error(), "restore", "panic:", "built again"} {
				if strings.Contains(said, bad) {
					t.Errorf("%s, %d files: it says %q:\n%s", after, limit, bad, said)
				}
			}
		}
	}
}
