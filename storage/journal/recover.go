package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A candidate is a segment file as Open finds it, before anything is believed.
type candidate struct {
	name   string
	number uint64
	size   int64
}

// recover brings the journal from what is on the disk to where Append can go
// on, or refuses. Nothing is written before all has been judged.
func (j *Journal) recover(opts Options) error {
	files, err := j.list()
	if err != nil {
		return err
	}
	rest, err := j.headers(files)
	if err != nil {
		return err
	}
	r := j.reader()
	defer r.close()
	if err := j.walk(r, opts.VerifyAfter); err != nil {
		return err
	}
	tear, err := j.tail(r, rest)
	if err != nil {
		return err
	}
	if err := j.locate(r, tear, opts); err != nil {
		return err
	}
	if tear != nil {
		if rest, err = j.cutOff(*tear, rest); err != nil {
			return err
		}
	}
	if err := j.resume(r, tear); err != nil {
		return err
	}
	return j.tidy(rest)
}

// list returns the segment files in order. A gap means that one is missing.
func (j *Journal) list() ([]candidate, error) {
	names, err := j.disk.Names()
	if err != nil {
		return nil, err
	}
	var files []candidate
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		f, err := j.disk.Open(name, false)
		if err != nil {
			return nil, err
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return nil, err
		}
		files = append(files, candidate{name: name, number: number, size: size})
	}
	slices.SortFunc(files, func(a, b candidate) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for i := 1; i < len(files); i++ {
		if want := files[i-1].number + 1; files[i].number != want {
			return nil, &CorruptError{File: j.path(segmentName(want)), Reason: "the file is missing"}
		}
	}
	return files, nil
}

// scanFile opens one candidate for scanning; the caller closes its file.
func (j *Journal) scanFile(c candidate) (*scanner, error) {
	f, err := j.disk.Open(c.name, false)
	if err != nil {
		return nil, err
	}
	return &scanner{keyed: newKeyed(j.key), file: f, path: j.path(c.name), limit: c.size}, nil
}

// headers takes the segments that have been begun, which come first, into the
// journal, and returns the blank ones behind them.
func (j *Journal) headers(files []candidate) ([]candidate, error) {
	begun := 0
	for i, c := range files {
		h, err := j.headerOf(c)
		if errors.Is(err, errBlank) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if i > begun {
			return nil, &CorruptError{File: j.path(files[begun].name), Reason: "the segment's header is missing"}
		}
		if h.number != c.number {
			return nil, &CorruptError{File: j.path(c.name), Reason: fmt.Sprintf("this is segment %d under a wrong name", h.number)}
		}
		if h.size != c.size {
			return nil, &CorruptError{File: j.path(c.name), Offset: min(c.size, h.size),
				Reason: fmt.Sprintf("the file has %d bytes and was made with %d", c.size, h.size)}
		}
		j.segments = append(j.segments, segment{name: c.name, header: h})
		begun++
	}
	rest := files[begun:]
	for i, c := range rest {
		// Only the making of the very last file can have been interrupted.
		if i < len(rest)-1 && c.size < smallestSize {
			return nil, &CorruptError{File: j.path(c.name), Offset: c.size, Reason: "the file was cut short"}
		}
	}
	return rest, nil
}

func (j *Journal) headerOf(c candidate) (header, error) {
	if c.size < sector {
		return header{}, errBlank // tail looks at what there is
	}
	s, err := j.scanFile(c)
	if err != nil {
		return header{}, err
	}
	defer s.file.Close()
	return s.header()
}

// walk reads the begun segments to the last good batch. Whatever ends the walk
// in the last of them is left for tail to judge.
func (j *Journal) walk(r *reader, verifyAfter uint64) error {
	if len(j.segments) == 0 {
		return nil
	}
	for i := 1; i < len(j.segments); i++ {
		if j.segments[i].first <= j.segments[i-1].first {
			return &CorruptError{File: j.path(j.segments[i].name), Reason: "the header does not continue the chain"}
		}
	}
	start := 0
	for i, s := range j.segments {
		if verifyAfter > 0 && s.first <= verifyAfter+1 {
			start = i
		}
	}
	// The last segment may turn out to be torn at its first batch: then the
	// journal ends in the one before, and that end must be found too.
	start = max(0, min(start, len(j.segments)-2))
	if err := r.start(j.segments[start]); err != nil {
		return err
	}
	last := j.segments[len(j.segments)-1]
	end := position{number: last.number, offset: last.size}
	for {
		at := position{number: r.segment.number, offset: r.offset, last: r.next - 1, chain: r.chain}
		_, err := r.read(j.segments, end)
		if err == nil {
			continue
		}
		var damage *CorruptError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errBlank):
			return nil
		case errors.As(err, &damage) && r.segment.number == last.number:
			// tail repeats the finding unless the batch is torn. A whole batch that
			// fails, it cannot see: that is settled here.
			if d, torn := r.scan.torn(r.offset, r.next); torn == nil && d.present == d.count {
				return err
			}
			return nil
		}
		_ = at
		return err
	}
}

// tail judges what follows the last good batch: nil for nothing, a Tear for a
// torn batch, an error for damage.
func (j *Journal) tail(r *reader, rest []candidate) (*tear, error) {
	var found *tear
	if n := len(j.segments); n > 0 {
		last := j.segments[n-1]
		r.scan.limit, r.scan.window = last.size, r.scan.window[:0]
		d, err := r.scan.torn(r.offset, r.next)
		if err != nil {
			return nil, err
		}
		// A header without a batch is what has arrived of one write with both.
		if d.count > 0 || r.offset == sector {
			found = &tear{name: last.name, opening: r.offset == sector, debris: d, offset: r.offset}
		}
	}
	for i, c := range rest {
		t, err := j.blankTail(c, r.next, i == 0 && found == nil)
		if err != nil {
			return nil, err
		}
		if t != nil {
			found = t
		}
	}
	return found, nil
}

// A tear is a Tear and what is needed to cut it off.
type tear struct {
	debris
	name    string
	offset  int64 // of the batch, not of the header before it
	opening bool  // the batch opens its segment, so the header goes too
}

// blankTail checks that a segment without a header is blank. If it is the next
// to be used it may hold a batch whose header did not arrive.
func (j *Journal) blankTail(c candidate, next uint64, usable bool) (*tear, error) {
	s, err := j.scanFile(c)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	if !usable || c.size < smallestSize {
		return nil, s.zeros(0)
	}
	d, err := s.torn(sector, next)
	if err != nil || d.count == 0 {
		return nil, err
	}
	return &tear{name: c.name, opening: true, debris: d, offset: sector}, nil
}

// locate finds where the journal ends, and refuses one that ends too early.
func (j *Journal) locate(r *reader, t *tear, opts Options) error {
	switch {
	case len(j.segments) > 0:
		j.end = position{number: r.segment.number, offset: r.offset, last: r.next - 1, chain: r.chain}
		j.next = r.segment.number + 1
	case !opts.Create:
		return ErrEmpty
	default:
		j.next = 1
		j.end.last = opts.CreateAfter
		rand.Read(j.end.chain[:])
	}
	if j.end.last >= opts.Known {
		return nil
	}
	lost := &CorruptError{Reason: fmt.Sprintf("the journal ends with record %d, but record %d had been acknowledged", j.end.last, opts.Known)}
	switch {
	case t != nil:
		lost.File, lost.Offset = j.path(t.name), t.offset
	case len(j.segments) > 0:
		lost.File, lost.Offset = j.path(r.segment.name), r.offset
	default:
		lost.File = j.path(segmentName(1))
	}
	return lost
}
