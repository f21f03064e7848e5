package storage

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is memory that the garbage collector neither walks nor counts: with
// ten million tokens on its heap it would let as much garbage gather again
// before it sets to work. What lies in a region must hold no pointer.
type region[T any] struct {
	items   []T
	mapping []byte // nil: on the heap after all
	cleanup runtime.Cleanup
}

// newRegion returns zeroed memory for n items. It is given back when nobody
// holds the region any more; so whoever keeps its items keeps it, too.
func newRegion[T any](n int) *region[T] {
	var one T
	size := n * int(unsafe.Sizeof(one))
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return &region[T]{items: make([]T, n)} // the heap will do, or say that there is no memory
	}
	r := &region[T]{items: unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n), mapping: mem}
	r.cleanup = runtime.AddCleanup(r, func(mem []byte) { unix.Munmap(mem) }, mem)
	return r
}

// free gives the memory back at once: nobody else may hold it. The collector,
// which does not see how large a region is, may take its time.
func (r *region[T]) free() {
	if r == nil || r.mapping == nil {
		return
	}
	r.cleanup.Stop()
	unix.Munmap(r.mapping)
	r.items, r.mapping = nil, nil
}
