// Package journaltest has a disk for tests that loses data that was not synced.
//
// For each file and for the directory, it records which sectors of 512 bytes a
// power failure could take away and which it could not. From that it makes the
// disk as it is after a power failure. It can also fail syncs and writes, fill
// up, and stop working at any operation, like a machine that loses power.
package journaltest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"gatehouse/storage/journal"
)

// Sector is the number of bytes that the disk writes atomically.
const Sector = 512

// Every call returns ErrStopped after the power has failed.
var ErrStopped = errors.New("the power is off")

// A Disk is a journal.Disk in memory. Its fields may be set while nobody uses
// it. New makes one.
type Disk struct {
	FailWrite error // returned by each write, although part of it arrives
	// FailSync is returned by each sync of a file. As on Linux, the data that
	// it did not write counts as clean from then on: it can be read, a later
	// sync skips it, and a power failure loses it.
	FailSync  error
	FailNames error // returned by each sync of the directory
	Capacity  int64 // bytes that all files may take; 0 means no end

	mu     sync.Mutex
	names  map[string]*content
	stable map[string]*content // the names that survive a power failure
	budget int                 // changing operations until the power goes; < 0 means never
	used   int
}

type content struct {
	live   []byte
	synced []byte
	dirty  map[int64]bool // numbers of the sectors that differ, or may
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{names: map[string]*content{}, stable: map[string]*content{}, budget: -1}
}

// Stop makes the power fail at the n-th changing operation from now. That
// operation happens in part, or not at all if it is a sync.
func (d *Disk) Stop(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.budget = n
}

// Operations counts the changing operations so far.
func (d *Disk) Operations() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Crash returns the disk as it is found after a power failure. For each unsynced
// sector, and for each unsynced size or name (with sector -1), keep says whether
// it had reached the disk.
func (d *Disk) Crash(keep func(name string, sector int64) bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New()
	after.Capacity = d.Capacity
	found := maps.Clone(d.stable)
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		if c := d.names[name]; d.stable[name] != c && keep(name, -1) {
			found[name] = c
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.stable)) {
		if d.names[name] == nil && keep(name, -1) {
			delete(found, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		b := found[name].crash(name, keep)
		after.Write(name, b)
	}
	return after
}

func (c *content) crash(name string, keep func(string, int64) bool) []byte {
	b := slices.Clone(c.synced)
	if len(c.live) != len(b) && keep(name, -1) {
		b = resize(b, len(c.live))
	}
	for _, n := range slices.Sorted(maps.Keys(c.dirty)) {
		from := n * Sector
		if from < int64(len(b)) && from < int64(len(c.live)) && keep(name, n) {
			copy(b[from:min(from+Sector, int64(len(b)))], c.live[from:])
		}
	}
	return b
}

func resize(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// Dirty lists the sectors of a file that were written and not synced.
func (d *Disk) Dirty(name string) []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.names[name]; c != nil {
		return slices.Sorted(maps.Keys(c.dirty))
	}
	return nil
}

// Read returns a file as it is now.
func (d *Disk) Read(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.names[name]; c != nil {
		return slices.Clone(c.live)
	}
	return nil
}

// Write puts a file on the disk, durably, and replaces an existing one.
func (d *Disk) Write(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &content{live: slices.Clone(b), synced: slices.Clone(b), dirty: map[int64]bool{}}
	d.names[name], d.stable[name] = c, c
}

// Clone returns an independent disk with the same files, all durable.
func (d *Disk) Clone() *Disk { return d.Crash(func(string, int64) bool { return true }) }

// spend counts one changing operation. It returns false if the power fails with
// it.
func (d *Disk) spend() bool {
	d.used++
	if d.budget < 0 {
		return true
	}
	if d.budget > 0 {
		d.budget--
	}
	return d.budget > 0
}

// off reports whether the power has failed.
func (d *Disk) off() bool { return d.budget == 0 }

// Names implements journal.Disk.
func (d *Disk) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrStopped
	}
	return slices.Sorted(maps.Keys(d.names)), nil
}

// Create implements journal.Disk.
func (d *Disk) Create(name string) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrStopped
	}
	if d.names[name] != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: os.ErrExist}
	}
	c := &content{dirty: map[int64]bool{}}
	d.names[name] = c
	if !d.spend() {
		return nil, ErrStopped
	}
	return &file{d, c, true}, nil
}

// Open implements journal.Disk.
func (d *Disk) Open(name string, flag int) (journal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return nil, ErrStopped
	}
	c := d.names[name]
	if c == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &file{d, c, flag == os.O_RDWR}, nil
}

// Remove implements journal.Disk.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() {
		return ErrStopped
	}
	if d.names[name] == nil {
		return &os.PathError{Op: "remove", Path: name, Err: os.ErrNotExist}
	}
	delete(d.names, name)
	if !d.spend() {
		return ErrStopped
	}
	return nil
}

// Sync implements journal.Disk.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off() || !d.spend() {
		return ErrStopped
	}
	if d.FailNames != nil {
		return d.FailNames
	}
	d.stable = maps.Clone(d.names)
	return nil
}

// Close implements journal.Disk.
func (d *Disk) Close() error { return nil }

type file struct {
	disk  *Disk
	c     *content
	write bool
}

func (f *file) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() {
		return 0, ErrStopped
	}
	if off >= int64(len(f.c.live)) {
		return 0, io.EOF
	}
	n := copy(b, f.c.live[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() {
		return 0, ErrStopped
	}
	if !f.write {
		return 0, fmt.Errorf("write: %w", os.ErrPermission)
	}
	end := off + int64(len(b))
	if end > int64(len(f.c.live)) {
		if err := f.disk.grow(end - int64(len(f.c.live))); err != nil {
			return 0, err
		}
		f.c.live = resize(f.c.live, int(end))
	}
	copy(f.c.live[off:], b)
	for n := off / Sector; n*Sector < end; n++ {
		f.c.dirty[n] = true
	}
	if !f.disk.spend() {
		return 0, ErrStopped
	}
	if f.disk.FailWrite != nil {
		return 0, f.disk.FailWrite
	}
	return len(b), nil
}

// grow is called with the lock held.
func (d *Disk) grow(by int64) error {
	if d.Capacity == 0 {
		return nil
	}
	for _, c := range d.names {
		by += int64(len(c.live))
	}
	if by > d.Capacity {
		return fmt.Errorf("grow: %w", syscall.ENOSPC)
	}
	return nil
}

func (f *file) Allocate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() {
		return ErrStopped
	}
	if size > int64(len(f.c.live)) {
		if err := f.disk.grow(size - int64(len(f.c.live))); err != nil {
			return err
		}
		f.c.live = resize(f.c.live, int(size))
	}
	if !f.disk.spend() {
		return ErrStopped
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() {
		return 0, ErrStopped
	}
	return int64(len(f.c.live)), nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off() || !f.disk.spend() {
		return ErrStopped
	}
	dirty := f.c.dirty
	f.c.dirty = map[int64]bool{}
	if f.disk.FailSync != nil {
		return f.disk.FailSync
	}
	f.c.synced = resize(f.c.synced, len(f.c.live))
	for n := range dirty {
		copy(f.c.synced[n*Sector:], f.c.live[n*Sector:min((n+1)*Sector, int64(len(f.c.live)))])
	}
	return nil
}

func (f *file) Close() error { return nil }
