package table

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory hands out pages that the garbage collector neither walks nor counts.
// With ten million tokens on the heap, the collector would let the same amount
// of garbage accumulate before it starts. A page must not contain pointers.
//
// It takes memory from the kernel in units of a huge page, and asks the kernel
// for huge pages (Linux, admin-guide/mm/transhuge). Tokens are looked up at
// random. With small pages nearly every lookup would first wait for the page
// tables, and in a virtual machine for the host's page tables too.
//
// All pages return to the kernel when nothing refers to the memory any more. So
// code that keeps a page must also keep the memory.
type memory struct {
	mu    sync.Mutex
	fresh []byte // zeroed, and never given out
	spare []*page
}

type page [pageSize]byte

const (
	pageSize     = 1 << 12
	hugePageSize = 1 << 21
)

// take returns a zeroed page.
func (m *memory) take() *page {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.spare) - 1; n >= 0 {
		p := m.spare[n]
		m.spare = m.spare[:n]
		clear(p[:])
		return p
	}
	if len(m.fresh) == 0 {
		m.fresh = m.hugePage()
	}
	p := (*page)(m.fresh)
	m.fresh = m.fresh[pageSize:]
	return p
}

// give takes pages back to hand them out again. Nobody else may hold them.
func (m *memory) give(pages ...*page) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spare = append(m.spare, pages...)
}

// hugePage maps twice as much as it needs, so that the mapping contains a whole
// huge page. The rest is never touched and takes no memory.
func (m *memory) hugePage() []byte {
	around, err := unix.Mmap(-1, 0, 2*hugePageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, hugePageSize) // the heap serves too, or reports that there is no memory
	}
	runtime.AddCleanup(m, func(mapping []byte) { unix.Munmap(mapping) }, around)
	unix.Madvise(around, unix.MADV_HUGEPAGE) // small pages work too
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(around))) % hugePageSize
	return around[skip:][:hugePageSize:hugePageSize]
}
