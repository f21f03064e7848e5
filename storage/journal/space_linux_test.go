package journal_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// Like TestFullDisk, on a real file system without a free byte.
func TestFullTmpfs(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=700"); err != nil {
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	const segment = 64 << 10
	ballast := filepath.Join(dir, "ballast")
	path := filepath.Join(dir, "journal")
	open := func() (*journal.Journal, error) {
		return journal.Open(path, testKey, journal.Options{Create: true, SegmentSize: segment})
	}
	j := must.Get(open())(t)
	j.Close()
	fill := must.Get(os.Create(ballast))(t)
	for n := 4096; n > 0; { // to the last byte
		if _, err := fill.Write(make([]byte, n)); err != nil {
			n /= 2
		}
	}
	fill.Close()
	fullDisk(t, open, func() { os.Remove(ballast) }, segment)
}
