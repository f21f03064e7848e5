package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
	"gatehouse/storage/storagetest/must"
)

// unsteady is a disk that refuses the next call of one kind, once.
type unsteady struct {
	*journaltest.Disk
	refuse string // the call: remove, create, allocate, write
	with   error
}

func (d *unsteady) once(call string) error {
	if d.refuse != call {
		return nil
	}
	d.refuse = ""
	return &os.PathError{Op: call, Path: "segment", Err: d.with}
}

func (d *unsteady) Remove(name string) error {
	if err := d.once("remove"); err != nil {
		return err
	}
	return d.Disk.Remove(name)
}

func (d *unsteady) Create(name string) (journal.File, error) {
	if err := d.once("create"); err != nil {
		return nil, err
	}
	f, err := d.Disk.Create(name)
	return unsteadyFile{f, d}, err
}

func (d *unsteady) Open(name string, flag int) (journal.File, error) {
	f, err := d.Disk.Open(name, flag)
	return unsteadyFile{f, d}, err
}

type unsteadyFile struct {
	journal.File
	disk *unsteady
}

func (f unsteadyFile) Allocate(size int64) error {
	if err := f.disk.once("allocate"); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

// WriteAt writes half of what it is given before it fails.
func (f unsteadyFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.disk.once("write"); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

// TestRefused has the system refuse each call that an append makes before its sync,
// once. That append fails, or succeeds if it does not depend on the call. The next
// one succeeds, and a power failure after it leaves exactly what was acknowledged.
func TestRefused(t *testing.T) {
	for _, call := range []string{"remove", "create", "allocate", "write"} {
		for _, with := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS} {
			for _, need := range []journal.Need{journal.Ordinary, journal.Essential} {
				for _, opens := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %v need=%d opens=%t", call, with, need, opens), func(t *testing.T) {
						refused(t, call, with, need, opens)
					})
				}
			}
		}
	}
}

func refused(t *testing.T, call string, with error, need journal.Need, opens bool) {
	d := &unsteady{Disk: journaltest.New(), with: with}
	j := must.Get(journal.Open("", testKey, journal.Options{Create: true, Disk: d, SegmentSize: small}))(t)
	last := appendBatch(t, j, 3, 300)
	n := 1
	if opens {
		n = 30 // does not fit
	}
	d.refuse = call
	at, err := j.Append(need, batchOf(last, n, 200))
	switch met := d.refuse == ""; {
	case err == nil && met && need == journal.Ordinary:
		t.Fatal("it was acknowledged although the disk had refused")
	case err == nil:
		last = at
	case !met || !errors.Is(err, with) || errors.Is(err, journal.ErrFailed):
		t.Fatalf("got %v, want an error of this append alone", err)
	}
	d.refuse = ""
	if err := j.Ready(); err != nil && !errors.Is(err, journal.ErrNoSpace) {
		t.Errorf("ready: %v", err)
	}
	for range 3 {
		if last, err = j.Append(journal.Ordinary, batchOf(last, 9, 200)); err != nil {
			t.Fatal("the next append: ", err)
		}
	}
	check(t, j, 1, last)
	if err := j.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	for _, kept := range []bool{false, true} {
		after := d.Crash(func(string, int64) bool { return kept })
		check(t, mustOpen(t, after, last, small), 1, last)
	}
}

// TestTooManyOpen appends to a journal on a real disk over several segments while the
// process has no descriptor left.
func TestTooManyOpen(t *testing.T) {
	dir := t.TempDir()
	j, err := journal.Open(dir, testKey, journal.Options{Create: true, SegmentSize: small})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	last := appendBatch(t, j, 3, 300)
	exhaust(t)
	segments := len(j.Segments())
	for len(j.Segments()) < segments+5 {
		if last, err = j.Append(journal.Ordinary, batchOf(last, 9, 200)); err != nil {
			t.Fatal(err)
		}
	}
}

// exhaust uses up all descriptors of the process until the test ends.
func exhaust(t *testing.T) {
	t.Helper()
	var before unix.Rlimit
	must.Do(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	var held []int
	t.Cleanup(func() {
		for _, fd := range held {
			unix.Close(fd)
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	})
	must.Do(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: before.Max}))
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, fd)
	}
}
