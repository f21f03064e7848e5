package journal

import (
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A batch as it was read. Its records are valid until the next is read.
type batch struct {
	first   uint64
	count   int
	before  link // the chain's value before the batch
	mac     link
	plain   []byte // its records
	sectors int
}

// A scanner returns errBlank for a place where nothing was written.
var errBlank = errors.New("blank")

// A scanner reads one segment through a window, so that a small batch costs no
// system call of its own.
type scanner struct {
	keyed
	file   File
	path   string
	limit  int64 // reads stop here: beyond it a write may be in progress
	window []byte
	base   int64 // of the window in the file
	plain  []byte
}

const windowSize = 128 << 10

func (s *scanner) corrupt(off int64, reason string) error {
	return &CorruptError{File: s.path, Offset: off, Reason: reason}
}

// view returns n bytes at off, all below the limit. They are valid until the
// next view.
func (s *scanner) view(off int64, n int) ([]byte, error) {
	if at := off - s.base; at >= 0 && at+int64(n) <= int64(len(s.window)) {
		return s.window[at:][:n], nil
	}
	size := int(min(int64(max(n, windowSize)), s.limit-off))
	if cap(s.window) < size {
		s.window = make([]byte, size)
	}
	s.window, s.base = s.window[:size], off
	_, err := s.file.ReadAt(s.window, off)
	if err != nil && size > n { // the error may concern bytes that were not asked for
		s.window = s.window[:n]
		_, err = s.file.ReadAt(s.window, off)
	}
	if err != nil {
		s.window = s.window[:0]
		if errors.Is(err, io.EOF) {
			return nil, s.corrupt(off, "the file is shorter than it was made")
		}
		return nil, fmt.Errorf("read %s at %d: %w", s.path, off, err)
	}
	return s.window[:n], nil
}

// header reads the segment's first sector.
func (s *scanner) header() (header, error) {
	b, err := s.view(0, sector)
	if err != nil {
		return header{}, err
	}
	if blank(b) {
		return header{}, errBlank
	}
	h, reason, err := decodeHeader(b, s.keyed)
	if err != nil {
		return h, fmt.Errorf("%s: %w", s.path, err)
	}
	if reason != "" {
		return h, s.corrupt(0, reason)
	}
	return h, nil
}

// batch reads the batch at off and checks everything except its place in the
// chain.
func (s *scanner) batch(off int64) (batch, error) {
	if off+sector > s.limit {
		return batch{}, errBlank
	}
	b, err := s.view(off, sector)
	if err != nil {
		return batch{}, err
	}
	if blank(b) {
		return batch{}, errBlank
	}
	m, whole := examine(b)
	if !whole {
		return batch{}, s.corrupt(off, "this sector fails its checksum")
	}
	if m.place != 0 || m.count < 1 || m.count > mostSectors || int64(m.count) > (s.limit-off)/sector {
		return batch{}, s.corrupt(off, "this sector is in the wrong place")
	}
	if b, err = s.view(off, m.count*sector); err != nil {
		return batch{}, err
	}
	s.plain = s.plain[:0]
	for i := range m.count {
		part := b[i*sector:][:sector]
		is, whole := examine(part)
		if !whole {
			return batch{}, s.corrupt(off+int64(i)*sector, "this sector fails its checksum")
		}
		if want := (mark{m.count, i, m.first}); is != want {
			return batch{}, s.corrupt(off+int64(i)*sector, "this sector is in the wrong place")
		}
		s.plain = append(s.plain, part[stamp:]...)
	}
	return s.decode(off, m)
}

// decode checks the batch that lies in s.plain.
func (s *scanner) decode(off int64, m mark) (batch, error) {
	length := int64(binary.LittleEndian.Uint32(s.plain))
	if length > mostBatch || sectorsFor(int(length)) != m.count {
		return batch{}, s.corrupt(off, "the batch's length is wrong")
	}
	b := batch{
		first:   m.first,
		count:   int(binary.LittleEndian.Uint32(s.plain[4:])),
		plain:   s.plain[preface : preface+length],
		sectors: m.count,
	}
	copy(b.before[:], s.plain[8:])
	copy(b.mac[:], s.plain[8+len(b.before):])
	mac := s.batchMAC(b.first, s.plain[:preface+length])
	if !hmac.Equal(mac[:], b.mac[:]) {
		return batch{}, s.corrupt(off, "the batch's MAC is wrong")
	}
	if !blank(s.plain[preface+length:]) {
		return batch{}, s.corrupt(off, "the batch's padding is not blank")
	}
	return b, nil
}

// zeros checks that nothing was written from off to the limit.
func (s *scanner) zeros(off int64) error {
	for off < s.limit {
		b, err := s.view(off, int(min(windowSize, s.limit-off)))
		if err != nil {
			return err
		}
		if !blank(b) {
			for i := 0; i < len(b); i += sector {
				if !blank(b[i:min(i+sector, len(b))]) {
					return s.corrupt(off+int64(i), "there is data after the end of the journal")
				}
			}
		}
		off += int64(len(b))
	}
	return nil
}

// torn examines everything from off on under the tear rule: it may be zeros, or
// sectors of the one batch at off that begins with the record first (any, if
// that is 0). Anything else is damage.
func (s *scanner) torn(off int64, first uint64) (Tear, error) {
	t := Tear{File: s.path, Offset: off, Sequence: first}
	for at := off; at < s.limit; at += sector {
		b, err := s.view(at, int(min(sector, s.limit-at)))
		if err != nil {
			return t, err
		}
		if blank(b) {
			continue
		}
		if len(b) < sector {
			return t, s.corrupt(at, "there is data after the end of the journal")
		}
		m, whole := examine(b)
		if !whole {
			return t, s.corrupt(at, "this sector fails its checksum, and an interrupted write would have left it blank")
		}
		if t.Sequence == 0 {
			t.Sequence = m.first
		}
		if t.Sectors == 0 {
			t.Sectors = m.count
		}
		if (m != mark{t.Sectors, int((at - off) / sector), t.Sequence}) || m.place >= m.count ||
			m.count > mostSectors || int64(m.count) > (s.limit-off)/sector {
			return t, s.corrupt(at, "this sector is in the wrong place: what was before it is missing")
		}
		t.Present++
	}
	return t, nil
}
