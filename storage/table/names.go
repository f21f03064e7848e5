package table

import "unsafe"

// names keeps strings of up to 255 bytes in a few blocks. The collector visits
// only the blocks.
type names struct {
	blocks [][]byte
	live   int // bytes of the names in use
}

const nameBlock = 1 << 12

// add returns the place of a name.
func (l *names) add(name string) uint32 {
	last := len(l.blocks) - 1
	if last < 0 || len(l.blocks[last])+1+len(name) > nameBlock {
		l.blocks = append(l.blocks, make([]byte, 0, nameBlock))
		last++
	}
	b := l.blocks[last]
	l.blocks[last] = append(append(b, byte(len(name))), name...)
	l.live += 1 + len(name)
	return uint32(last*nameBlock + len(b))
}

// drop notes that the name at a place is no longer in use. The name stays there,
// because callers may still have it.
func (l *names) drop(place uint32) { l.live -= 1 + len(l.at(place)) }

// wasteful reports whether dropped names take most of the memory.
func (l *names) wasteful() bool { return len(l.blocks)*nameBlock > 4*(l.live+nameBlock) }

// at returns the name at a place. It does not copy: the content of a block
// never changes.
func (l *names) at(place uint32) string {
	b := l.blocks[place/nameBlock][place%nameBlock:]
	return unsafe.String(unsafe.SliceData(b[1:]), b[0])
}
