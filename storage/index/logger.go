package index

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// logger passes on Badger's warnings and errors, and holds its compactions while the disk
// is short of space.
type logger struct{ x *Index }

func (l logger) Errorf(f string, args ...any) {
	said := strings.TrimSpace(fmt.Sprintf(f, args...))
	l.x.said.note(said)
	l.x.ailing.Set(errors.New(said))
	if f == noMemoryTable {
		l.x.space.stuck.Store(true)
	}
}

func (l logger) Warningf(f string, args ...any) { l.Errorf(f, args...) }

func (logger) Infof(string, ...any) {}

// noMemoryTable is Badger's message when it could not make a memory table and has none.
const noMemoryTable = "Got error: %v for id: %d\n"

// beforeTable is the message of a compaction that is about to write another
// table.
const beforeTable = "[%d] LOG Compact. Added "

// Badger's own goroutines call Debugf, and a compaction goes no further until it
// returns. Nothing else in Badger can hold a compaction: it writes its tables through a
// memory map, even on a full disk, and long after the last change.
func (l logger) Debugf(f string, _ ...any) {
	if strings.HasPrefix(f, beforeTable) {
		l.x.space.hold()
	}
}

// messages keeps Badger's last message. When Badger retries something forever it returns
// no error, and only logs.
type messages struct {
	text   atomic.Pointer[string]
	failed atomic.Int32 // how often a memory table did not become a file: Badger tries each second
}

const flushFailed = "error flushing memtable to disk"

func (m *messages) note(text string) {
	m.text.Store(&text)
	if strings.HasPrefix(text, flushFailed) {
		m.failed.Add(1)
	}
}

func (m *messages) latest() string {
	if text := m.text.Load(); text != nil {
		return *text
	}
	return "it does not say why"
}

// Said returns the last message of Badger.
func (x *Index) Said() string { return x.said.latest() }
