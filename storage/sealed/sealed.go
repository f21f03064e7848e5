// Package sealed writes and reads files that keep, from one run of the program to the
// next, what a store had in memory at one moment: the table, and what queries ask for.
//
//	head: magic | moment 64 | offset 8 and length 4 of each of the parts
//	parts
//
// Head and parts are sealed, each part to its place and to the moment. So a file is
// believed only as a whole, or part by part, and never in the place of another one.
// Whether the moment is the right one is for the caller to say.
package sealed

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Moment says how far the content of a file is complete.
type Moment struct {
	Position journal.Position
	Uses     uint64 // it has all uses up to this end of their log; 0: it may lack the last uses
}

const (
	// MomentSize is how many bytes a moment takes. Earlier versions named a segment of
	// the log of uses in the last 16. They are now zeros, and not read.
	MomentSize = journal.PositionSize + 3*8
	// PlaceSize is how many bytes the head has for each part.
	PlaceSize = 8 + 4
)

func (m Moment) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(m.Position.Append(b), m.Uses)
	return append(b, make([]byte, 16)...)
}

func cutMoment(c *record.Cutter) (m Moment) {
	m.Position, _ = journal.DecodePosition(c.Bytes(journal.PositionSize))
	m.Uses = binary.BigEndian.Uint64(c.Bytes(8))
	c.Bytes(16)
	return m
}

// Form is a kind of file.
type Form struct {
	Magic string // the beginning of its head
	Kind  byte   // no other kind of record or file has seals with keys that begin so
	Parts int
}

func (o Form) headSize() int {
	return keys.SealSize + len(o.Magic) + MomentSize + o.Parts*PlaceSize
}

func (o Form) headKey() []byte { return append([]byte{o.Kind}, " head"...) }

// partKey binds a part to its place and to the moment.
func (o Form) partKey(m Moment, part int) []byte {
	k := m.Position.Append([]byte{o.Kind})
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(k, m.Uses), uint16(part))
}

// Write writes a file. It calls part for each of the parts, in order, to append its content.
// The file replaces an older one, which stays if there is an error. Write does not sync: an
// incomplete file does not verify.
func (o Form) Write(name string, seals *keys.Seals, m Moment, part func(n int, b []byte) ([]byte, error)) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	if err := errors.Join(o.write(f, seals, m, part), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (o Form) write(f *os.File, seals *keys.Seals, m Moment, part func(int, []byte) ([]byte, error)) (err error) {
	head := m.append([]byte(o.Magic))
	w := bufio.NewWriterSize(f, 1<<20)
	offset := int64(o.headSize())
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	var payload []byte
	for n := range o.Parts {
		if payload, err = part(n, payload[:0]); err != nil {
			return err
		}
		content := seals.Seal(o.partKey(m, n), payload)
		head = binary.BigEndian.AppendUint64(head, uint64(offset))
		head = binary.BigEndian.AppendUint32(head, uint32(len(content)))
		offset += int64(len(content))
		runtime.Gosched() // let requests run during a checkpoint
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = f.WriteAt(seals.Seal(o.headKey(), head), 0)
	return err
}

// File is an open file. It may be read by many goroutines.
type File struct {
	Moment

	form  Form
	seals *keys.Seals
	file  *os.File
	parts []place
}

type place struct {
	offset int64
	length uint32
}

// Open opens a file that Write wrote, and reads its head.
func (o Form) Open(name string, seals *keys.Seals) (*File, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	f := &File{form: o, file: file, seals: seals, parts: make([]place, o.Parts)}
	if err := f.readHead(); err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the file. Its parts can't be read any more.
func (f *File) Close() error { return f.file.Close() }

func (f *File) readHead() error {
	b := make([]byte, f.form.headSize())
	if _, err := f.file.ReadAt(b, 0); err != nil {
		return err
	}
	b, err := f.seals.Open(f.form.headKey(), b)
	if err != nil {
		return err
	}
	c := record.Cutter{Rest: b}
	if string(c.Bytes(len(f.form.Magic))) != f.form.Magic {
		return errors.New("it has an unknown form")
	}
	f.Moment = cutMoment(&c)
	for n := range f.parts {
		f.parts[n] = place{int64(binary.BigEndian.Uint64(c.Bytes(8))), binary.BigEndian.Uint32(c.Bytes(4))}
	}
	return nil
}

// Part reads a part into the memory of buf, which grows if it must. The part is valid
// until that memory is used again.
func (f *File) Part(n int, buf *[]byte) ([]byte, error) {
	at := f.parts[n]
	*buf = slices.Grow((*buf)[:0], int(at.length))[:at.length]
	if _, err := f.file.ReadAt(*buf, at.offset); err != nil {
		return nil, fmt.Errorf("part %d: %w", n, err)
	}
	return f.seals.Open(f.form.partKey(f.Moment, n), *buf)
}
