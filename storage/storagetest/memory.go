package storagetest

import (
	"flag"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// InMemory lets the tests of a package have their temporary directories in memory, where a
// sync takes no time, unless the environment says where they are. It is for packages whose
// tests open many stores and leave to package storage what reaches the disk: otherwise they
// mostly wait for the disk. Tests also run programs there. Benchmarks keep the disk. TestMain calls it.
func InMemory() {
	const dir, room = "/dev/shm", 2 << 30 // a store takes about 100 MiB
	flag.Parse()
	var at unix.Statfs_t
	switch {
	case os.Getenv("TMPDIR") != "", flag.Lookup("test.bench").Value.String() != "":
	case unix.Statfs(dir, &at) == nil && at.Type == unix.TMPFS_MAGIC && at.Flags&unix.ST_NOEXEC == 0 && at.Bavail*uint64(at.Bsize) >= room:
		os.Setenv("TMPDIR", dir)
	}
}

// Slow skips a test that takes long if go test has the flag -short.
func Slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
}
