package datadir

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// Lines is a writer for a log with a reader that may be slow, stuck or gone. Write never
// waits and never fails: lines wait in memory, and those that find no room there, or that
// can't be written, are lost. Otherwise a log pipe that is full would stop the server,
// and with it every service behind the gate.
type Lines struct {
	// Lost, when set, is told how many lines were lost, as soon as lines can be
	// written again.
	Lost func(lines int)

	to     io.Writer
	wake   chan struct{} // of capacity 1
	ended  chan struct{}
	closed bool // wake is closed

	mu      sync.Mutex
	waiting []byte
	lost    int
}

const (
	mostWaiting = 1 << 20         // bytes
	lastChance  = 2 * time.Second // that Close gives a reader
)

// NewLines returns a Lines that writes to another writer. The caller must close it.
func NewLines(to io.Writer) *Lines {
	l := &Lines{to: to, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run()
	return l
}

// Write takes whole lines.
func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting)+len(b) > mostWaiting {
		l.lost += countLines(b)
		return len(b), nil
	}
	l.waiting = append(l.waiting, b...)
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
	return len(b), nil
}

// Close waits until everything is written, or at most lastChance. What is written to
// Lines after that is lost.
func (l *Lines) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.wake)
	}
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-time.After(lastChance):
	}
	return nil
}

func (l *Lines) run() {
	defer close(l.ended)
	for awake := true; awake; {
		_, awake = <-l.wake
		l.drain()
	}
}

// drain writes what waits.
func (l *Lines) drain() {
	for {
		l.mu.Lock()
		b := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		if len(b) == 0 {
			return
		}
		n, err := l.to.Write(b)
		l.mu.Lock()
		if err != nil {
			l.lost += max(1, countLines(b[n:]))
		}
		lost := l.lost
		told := err == nil && lost > 0 && len(l.waiting) == 0 // or what Lost writes would be lost, too
		if told {
			l.lost = 0
		}
		l.mu.Unlock()
		if told && l.Lost != nil {
			l.Lost(lost)
		}
	}
}

func countLines(b []byte) int { return bytes.Count(b, []byte("\n")) }
