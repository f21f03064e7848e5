package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// memory is a File for the scanner.
type memory struct{ *bytes.Reader }

func (memory) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (memory) Allocate(int64) error               { return errors.ErrUnsupported }
func (m memory) Size() (int64, error)             { return m.Reader.Size(), nil }
func (memory) Sync() error                        { return nil }
func (memory) Close() error                       { return nil }

var _ io.ReaderAt = memory{}

func scan(b []byte) *scanner {
	return &scanner{keyed: newKeyed([32]byte{1}), file: memory{bytes.NewReader(b)}, path: "fuzz", limit: int64(len(b))}
}

// FuzzSegment gives the scanner arbitrary bytes. The scanner must end, must
// allocate no more than a batch can have, and must accept nothing that can't be
// written again byte for byte.
func FuzzSegment(f *testing.F) {
	e := encoder{keyed: newKeyed([32]byte{1})}
	out, chain := e.batch(1, link{}, 5, []Entry{{Actor: "a", Payload: make([]byte, 700)}, {Payload: []byte("b")}})
	one := bytes.Clone(out)
	out, _ = e.batch(3, chain, 5, []Entry{{Actor: "c"}})
	f.Add(append(bytes.Clone(one), out...))
	f.Add(append(bytes.Clone(one), make([]byte, 1024)...))
	f.Add(one[:700])
	head := make([]byte, sector)
	header{number: 1, size: 4096, first: 1}.encode(head, e.keyed)
	f.Add(head)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scan(b)
		if len(b) >= sector {
			s.header()
		}
		for off := int64(0); off+sector <= int64(len(b)); off += sector {
			s.torn(off, 0)
			s.zeros(off)
			got, err := s.batch(off)
			if err != nil {
				continue
			}
			list, ok := records(bytes.Clone(got.plain), got.first, got.count)
			if !ok {
				continue
			}
			again(t, list, got, b[off:])
		}
		if cap(s.window) > max(windowSize, mostSectors*sector) || cap(s.plain) > 2*mostSectors*body {
			t.Fatalf("allocated %d and %d bytes", cap(s.window), cap(s.plain))
		}
	})
}

func again(t *testing.T, list []Record, got batch, b []byte) {
	t.Helper()
	entries := make([]Entry, len(list))
	for i, r := range list {
		if r.Time == 0 {
			return // 0 means now to the encoder
		}
		entries[i] = Entry{Time: r.Time, Actor: r.Actor, Payload: r.Payload}
	}
	e := encoder{keyed: newKeyed([32]byte{1})}
	out, mac := e.batch(got.first, got.before, 0, entries)
	if mac != got.mac || !bytes.Equal(out, b[:len(out)]) {
		t.Fatal("what was read is not what is written")
	}
}

// FuzzBatch gives arbitrary bytes valid checksums and a valid MAC, which the
// fuzzer can't guess, so that it also reaches the code behind those checks.
func FuzzBatch(f *testing.F) {
	f.Add(uint32(20), uint32(1), uint64(7), appendRecord(nil, 9, Entry{Actor: "abc", Payload: []byte("xyz")}), true)
	f.Add(uint32(1<<31), uint32(1<<31), uint64(1), []byte{1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, length, count uint32, first uint64, plain []byte, honest bool) {
		if len(plain) > 4096 {
			return
		}
		k := newKeyed([32]byte{1})
		if honest {
			length = uint32(len(plain))
		}
		p := append(make([]byte, preface), plain...)
		binary.LittleEndian.PutUint32(p, length)
		binary.LittleEndian.PutUint32(p[4:], count)
		sectors := sectorsFor(len(plain))
		mac := k.batchMAC(first, p[:min(len(p), preface+int(min(length, mostBatch)))])
		copy(p[8+len(mac):], mac[:])
		b := make([]byte, sectors*sector)
		for i := range sectors {
			part := b[i*sector:][:sector]
			n := copy(part[stamp:], p)
			p = p[n:]
			seal(part, sectors, i, first)
		}
		s := scan(b)
		got, err := s.batch(0)
		if err != nil {
			if !errors.As(err, new(*CorruptError)) {
				t.Fatal(err)
			}
			return
		}
		if list, ok := records(bytes.Clone(got.plain), got.first, got.count); ok {
			again(t, list, got, b)
		}
	})
}

// FuzzRecords splits arbitrary bytes: records must take all of them or none.
func FuzzRecords(f *testing.F) {
	f.Add(appendRecord(appendRecord(nil, 1, Entry{Actor: "x"}), 1, Entry{Payload: []byte("y")}), 2)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 1<<40)
	f.Fuzz(func(t *testing.T, p []byte, count int) {
		list, ok := records(p, 1, count)
		if !ok {
			return
		}
		size := 0
		for _, r := range list {
			size += Entry{Actor: r.Actor, Payload: r.Payload}.Size()
		}
		if size != len(p) || len(list) != count {
			t.Fatalf("%d bytes in %d records, want %d in %d", size, len(list), len(p), count)
		}
	})
}
