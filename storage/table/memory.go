package table

import (
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory gives out pages that the garbage collector neither walks nor counts:
// with ten million tokens on its heap it would let as much garbage gather again
// before it starts. A page must contain no pointer.
//
// It takes memory from the kernel by the huge page, and asks for one (Linux,
// admin-guide/mm/transhuge). Tokens are looked up at random, so with small pages
// nearly each look would wait for the page tables first, and in a virtual machine
// for the host's too.
//
// All of it goes back to the kernel when nothing refers to the memory any more. So what
// keeps a page must keep the memory, too.
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

// give takes pages back, which nobody else holds, to give them out again.
func (m *memory) give(pages ...*page) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spare = append(m.spare, pages...)
}

// hugePage maps twice as much as it needs, so that it contains a whole huge page.
// The rest is never touched, and takes no memory.
func (m *memory) hugePage() []byte {
	around, err := unix.Mmap(-1, 0, 2*hugePageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, hugePageSize) // the heap will do, or say that there is no memory
	}
	runtime.AddCleanup(m, func(mapping []byte) { unix.Munmap(mapping) }, around)
	unix.Madvise(around, unix.MADV_HUGEPAGE) // small pages will do, too
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(around))) % hugePageSize
	return around[skip:][:hugePageSize:hugePageSize]
}
