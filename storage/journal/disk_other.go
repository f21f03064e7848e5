//go:build !linux

package journal

import "os"

func allocate(f *os.File, size int64) error { return writeZeros(f, size) }
func datasync(f *os.File) error             { return f.Sync() }

// lock does nothing here: the store that owns the journal holds a lock already,
// and Gatehouse runs on Linux.
func lock(*os.File) error { return nil }
