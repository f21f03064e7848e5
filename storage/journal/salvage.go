package journal

import (
	"bytes"
	"errors"
	"fmt"
)

// Salvage reads as much as possible from a journal that Open refuses, so that a
// restore can keep the revocations in it. It calls fn with every record of a
// batch that has a valid MAC, in the order of the files, even if the chain
// around the batch is broken. It returns the places that it had to skip. It
// changes nothing. disk may be nil, as in Options.
func Salvage(dir string, key [32]byte, disk Disk, fn func(Record) error) ([]CorruptError, error) {
	j := &Journal{dir: dir, disk: disk, key: key}
	if disk == nil {
		d, err := openDirectory(dir)
		if err != nil {
			return nil, fmt.Errorf("salvage journal: %w", err)
		}
		defer d.Close()
		j.disk = d
	}
	files, err := j.list()
	var gap *CorruptError
	var lost []CorruptError
	if errors.As(err, &gap) {
		lost = append(lost, *gap)
	} else if err != nil {
		return nil, fmt.Errorf("salvage journal: %w", err)
	}
	for _, c := range files {
		bad, err := j.salvage(c, fn)
		if err != nil {
			return lost, err
		}
		lost = append(lost, bad...)
	}
	return lost, nil
}

// salvage tries each sector as the start of a batch. Adjacent bad sectors form
// one place.
func (j *Journal) salvage(c candidate, fn func(Record) error) ([]CorruptError, error) {
	s, err := j.scanFile(c)
	if err != nil {
		return nil, fmt.Errorf("salvage journal: %w", err)
	}
	defer s.file.Close()
	var lost []CorruptError
	bad := false
	for off := int64(0); off+sector <= c.size; {
		if off == 0 {
			if h, err := s.header(); err == nil {
				if h.size != c.size {
					lost = append(lost, CorruptError{File: s.path, Offset: min(c.size, h.size),
						Reason: fmt.Sprintf("the file has %d bytes and was made with %d", c.size, h.size)})
				}
				off += sector
				continue
			}
		}
		b, err := s.batch(off)
		if err == nil {
			list, _ := records(bytes.Clone(b.plain), b.first, b.count)
			for _, record := range list {
				if err := fn(record); err != nil {
					return lost, err
				}
			}
			off, bad = off+int64(b.sectors)*sector, false
			continue
		}
		if errors.Is(err, errBlank) {
			off, bad = off+sector, false
			continue
		}
		damage, ok := errors.AsType[*CorruptError](err)
		if !ok {
			damage = &CorruptError{File: s.path, Offset: off, Reason: err.Error()}
		}
		if !bad {
			lost = append(lost, *damage)
		}
		off, bad = off+sector, true
	}
	return lost, nil
}
