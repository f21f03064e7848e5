package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/storagetest/must"

	"golang.org/x/sys/unix"
)

// WriteFile replaces a file as a whole, with a private one, and replaces only
// files.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for _, want := range []string{"first", "", "the second, which is longer"} {
		if err := os.Chmod(file, 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		must.Do(t, disk.WriteFile(file, []byte(want)))
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("got %v, %v, want mode 600", info.Mode(), err)
		}
	}
	for name, made := range map[string]func(string) error{
		"directory": func(f string) error { return os.Mkdir(f, 0o700) },
		"pipe":      func(f string) error { return syscall.Mkfifo(f, 0o600) },
		"link":      func(f string) error { return os.Symlink(file, f) },
	} {
		at := filepath.Join(dir, name)
		must.Do(t, made(at))
		before := must.Get(os.Lstat(at))(t)
		if err := disk.WriteFile(at, []byte("x")); err == nil {
			t.Errorf("a %s was replaced", name)
		}
		if after, err := os.Lstat(at); err != nil || after.Mode() != before.Mode() {
			t.Errorf("the %s is %v, %v, and was %v", name, after.Mode(), err, before.Mode())
		}
	}
	if err := disk.WriteFile(filepath.Join(dir, "none", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no directory: got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// A refusal of the system is never taken for damage, nor damage for a refusal, even
// when only the text of an error is passed on.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err           error
		read, written error
	}{
		{syscall.EMFILE, disk.ErrUnavailable, disk.ErrUnavailable},
		{syscall.EIO, disk.ErrUnavailable, disk.ErrUnavailable},
		{syscall.ENOSPC, disk.ErrUnavailable, disk.ErrNoSpace},
		{syscall.EDQUOT, disk.ErrUnavailable, disk.ErrNoSpace},
		{errors.New("checksum mismatch"), disk.ErrDamaged, disk.ErrUnavailable},
		{disk.ErrFailed, disk.ErrDamaged, disk.ErrFailed},
		{disk.ErrClosed, disk.ErrDamaged, disk.ErrClosed},
		{disk.ErrRemoved, disk.ErrDamaged, disk.ErrNoDirectory},
	} {
		for _, err := range []error{c.err, fmt.Errorf("open: %w", c.err), &fs.PathError{Op: "open", Path: "p", Err: c.err}} {
			if got := disk.NotRead("read", err); !errors.Is(got, c.read) || !errors.Is(got, c.err) {
				t.Errorf("reading, %v: got %v, want %v", err, got, c.read)
			}
			if got := disk.NotWritten("write", err); !errors.Is(got, c.written) || !errors.Is(got, c.err) {
				t.Errorf("writing, %v: got %v, want %v", err, got, c.written)
			}
		}
		if got := disk.NotRead("read", errors.New("said: "+c.err.Error())); !errors.Is(got, c.read) {
			t.Errorf("reading, the text of %v: got %v, want %v", c.err, got, c.read)
		}
	}
	for err, want := range map[error]string{syscall.EMFILE: "ulimit", syscall.ENOSPC: "make room", syscall.EIO: "kernel's log"} {
		if got := disk.Explain(err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: got %v, want %q", err, got, want)
		}
	}
}

// One process holds the lock at a time, and the second one learns who the first
// is.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	held := must.Get(disk.Lock(dir, "a test"))(t)
	var locked *disk.LockedError
	want := fmt.Sprintf("a test, process %d", os.Getpid())
	if _, err := disk.Lock(dir, "another"); !errors.As(err, &locked) || locked.Dir != dir || locked.Holder != want {
		t.Errorf("got %v, want that it is held by %q", err, want)
	}
	held.Close()
	again := must.Get(disk.Lock(dir, ""))(t)
	again.Close()
	// A link must not cause another file to be overwritten.
	other := filepath.Join(t.TempDir(), "lock")
	must.Do(t, errors.Join(os.WriteFile(other, []byte("kept"), 0o600), os.Remove(filepath.Join(dir, "lock")), os.Symlink(other, filepath.Join(dir, "lock"))))
	if f, err := disk.Lock(dir, ""); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "kept" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestCheckPrivate(t *testing.T) {
	dir := t.TempDir()
	must.Do(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	for _, c := range []struct {
		name string
		mode fs.FileMode
		ok   bool
	}{{".", 0o700, true}, {".", 0o755, true}, {".", 0o720, false}, {".", 0o702, false}, {"store", 0o750, true}, {"store", 0o770, false}, {"store", 0o707, false}} {
		at := filepath.Join(dir, c.name)
		must.Do(t, os.Chmod(at, c.mode))
		if err := disk.CheckPrivate(dir); (err == nil) != c.ok || !c.ok && !strings.Contains(err.Error(), at+" has mode") {
			t.Errorf("%s of mode %o: got %v", c.name, c.mode, err)
		}
		must.Do(t, os.Chmod(at, 0o700))
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.CheckPrivate(file); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file: got %v", err)
	}
	if err := disk.CheckPrivate(filepath.Join(dir, "none")); err != nil {
		t.Errorf("one that does not exist: got %v", err)
	}
}

// soon waits until Lack, which may be a millisecond old, returns the wanted
// error.
func soon(t *testing.T, s *disk.Space, want error) {
	t.Helper()
	var got error
	for range 1000 {
		if got = s.Short(); errors.Is(got, want) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("got %v, want %v", got, want)
}

// A disk counts as short if too little is free, if the directory was moved, or if
// the free space is unknown.
func TestSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	home := filepath.Join(dir, "journal")
	must.Do(t, os.MkdirAll(home, 0o700))
	s := disk.NewSpace(dir, 100)
	measure := func(free uint64, err error) {
		s.MeasureBy(func(string) (uint64, error) { return free, err })
	}
	measure(100, nil)
	soon(t, s, nil)
	if err := s.Lack(101); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("101 of 100 bytes: got %v", err)
	}
	measure(99, nil)
	soon(t, s, disk.ErrNoSpace)
	measure(0, syscall.EIO)
	soon(t, s, disk.ErrUnavailable)
	if got := s.Left(); got != 0 {
		t.Errorf("got %d bytes of a disk that does not tell", got)
	}
	measure(1000, nil)
	soon(t, s, nil)

	must.Do(t, s.Watch(home))
	soon(t, s, nil)
	must.Do(t, os.Rename(dir, dir+"-moved"))
	soon(t, s, disk.ErrNoDirectory)
	if errors.Is(s.Short(), disk.ErrRemoved) {
		t.Error("a directory that was moved is said to be removed")
	}
	must.Do(t, os.MkdirAll(home, 0o700)) // another directory of the same name
	soon(t, s, disk.ErrNoDirectory)
	must.Do(t, errors.Join(os.RemoveAll(dir), os.Rename(dir+"-moved", dir)))
	soon(t, s, nil)
	must.Do(t, os.RemoveAll(home))
	soon(t, s, disk.ErrRemoved)
	must.Do(t, errors.Join(s.Close(), s.Close()))
	soon(t, s, nil)
}

// The ballast exists while there is room for it, and is removed when there is
// none.
func TestBallast(t *testing.T) {
	dir := t.TempDir()
	s := disk.NewSpace(dir, 1<<20)
	file := filepath.Join(dir, "ballast")
	for _, c := range []struct {
		free uint64
		want bool
	}{{10 << 20, false}, {1 << 30, true}, {60 << 20, true}, {10 << 20, false}, {60 << 20, false}, {1 << 30, true}} {
		s.MeasureBy(func(string) (uint64, error) { return c.free, nil })
		for free, _ := s.Now(); free != c.free; free, _ = s.Now() {
			time.Sleep(time.Millisecond)
		}
		s.KeepBallast()
		if got := disk.Exists(file); got != c.want {
			t.Errorf("with %d bytes free: got %t, want %t", c.free, got, c.want)
		}
	}
	s.DropBallast()
	if disk.Exists(file) {
		t.Error("it is there after it was dropped")
	}
}

// Allocate does not change the content of a file, and reserves space for all of
// it.
func TestAllocate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	must.Do(t, errors.Join(os.WriteFile(file, []byte("begin"), 0o600), os.Truncate(file, 1<<20)))
	must.Do(t, disk.Allocate(file))
	b, err := os.ReadFile(file)
	if err != nil || len(b) != 1<<20 || strings.TrimRight(string(b), "\x00") != "begin" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil || st.Blocks*512 < st.Size {
		t.Errorf("got %d blocks for %d bytes, %v", st.Blocks, st.Size, err)
	}
	must.Do(t, disk.SpareDescriptor())
}

// A lock that was given back is free at once, even if a child that is just being started
// has a copy of the descriptor.
func TestLockIsGivenBack(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l := must.Get(disk.Lock(dir, "a test"))(t)
		if other, err := disk.Lock(dir, "another"); !errors.As(err, new(*disk.LockedError)) {
			t.Errorf("a second time: got %v, %v", other, err)
		}
		copies := copiesOf(t, filepath.Join(dir, "lock"))
		if err := l.Close(); err != nil || len(copies) == 0 {
			t.Errorf("got %v, with %d copies", err, len(copies))
		}
	}
}

// copiesOf makes copies of all descriptors that this process has of a file.
func copiesOf(t *testing.T, file string) (copies []int) {
	t.Helper()
	entries := must.Get(os.ReadDir("/proc/self/fd"))(t)
	for _, e := range entries {
		if name, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); name != file {
			continue
		}
		n := must.Get(strconv.Atoi(e.Name()))(t)
		c := must.Get(unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0))(t)
		t.Cleanup(func() { unix.Close(c) })
		copies = append(copies, c)
	}
	return copies
}
