// Package storagetest is what tests of a store, and of what stands on one, have
// in common: a clock that they move, and a log that they read. It imports
// nothing of ours, so that the tests within package storage can use it too.
package storagetest

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Clock is the time on a computer: what its clock says, and for how long it has
// run. Both stand until they are moved.
type Clock struct {
	mu   sync.Mutex
	at   time.Time
	boot time.Duration
}

// NewClock returns a clock that stands at a moment.
func NewClock(at time.Time) *Clock { return &Clock{at: at, boot: time.Hour} }

// Now reads the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Milli reads the clock in milliseconds since 1970, as the store counts.
func (c *Clock) Milli() int64 { return c.Now().UnixMilli() }

// Boot is for how long the computer has run.
func (c *Clock) Boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// Pass lets time pass: the clock moves on, and the computer runs for longer.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	c.boot += d
}

// Move moves what the clock says by d, back when d is negative, as an
// administrator or a time server does: no time passes.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Set moves what the clock says to a moment. No time passes.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// Log holds what is written to it, and can be read at the same time. The zero
// Log is empty.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Take returns the lines that were written, and empties the log.
func (l *Log) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}
