package journal

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A candidate is a segment file as Open finds it, before it is verified.
type candidate struct {
	name   string
	number uint64
	size   int64
}

// recover takes the journal from the files on the disk to the point where
// Append can go on, or refuses it. It writes nothing before it has checked
// everything: the checks are in this file, and what is written is in repair.go.
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
	damage, err := j.walk(r, opts.VerifyAfter)
	if err != nil {
		return err
	}
	t, err := j.tail(r, damage, rest)
	if err != nil {
		return err
	}
	if err := j.locate(r, t, opts); err != nil {
		return err
	}
	if t != nil {
		if rest, err = j.cutOff(t, rest); err != nil {
			return err
		}
	}
	if err := j.settle(r); err != nil {
		return err
	}
	return j.tidy(rest)
}

// list returns the segment files in order. A gap means that a file is missing:
// then it returns an error, and the files too.
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
		f, err := j.disk.Open(name, os.O_RDONLY)
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
	slices.SortFunc(files, func(a, b candidate) int { return cmp.Compare(a.number, b.number) })
	for i := 1; i < len(files); i++ {
		if want := files[i-1].number + 1; files[i].number != want {
			return files, &CorruptError{File: j.path(segmentName(want)), Reason: "the file is missing"}
		}
	}
	return files, nil
}

// scanFile opens one candidate for scanning; the caller closes its file.
func (j *Journal) scanFile(c candidate) (*scanner, error) {
	f, err := j.disk.Open(c.name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &scanner{keyed: newKeyed(j.key), file: f, path: j.path(c.name), limit: c.size}, nil
}

// headers adds the segments that have a header to the journal, and returns the
// blank ones behind them.
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
		// Only the creation of the very last file can have been interrupted.
		if i < len(rest)-1 && c.size < smallestSize {
			return nil, &CorruptError{File: j.path(c.name), Offset: c.size, Reason: "the file was cut short"}
		}
	}
	return rest, nil
}

func (j *Journal) headerOf(c candidate) (header, error) {
	if c.size < sector {
		return header{}, errBlank // tail examines it
	}
	s, err := j.scanFile(c)
	if err != nil {
		return header{}, err
	}
	defer s.file.Close()
	return s.header()
}

// walk reads the segments that have a header, up to the last good batch. It
// returns damage in the last of them separately, because it may be a tear: tail
// decides that.
func (j *Journal) walk(r *reader, verifyAfter uint64) (damage *CorruptError, err error) {
	if len(j.segments) == 0 {
		return nil, nil
	}
	start := 0
	for i, s := range j.segments {
		if i > 0 && s.first <= j.segments[i-1].first {
			return nil, &CorruptError{File: j.path(s.name), Reason: "the header does not continue the chain"}
		}
		if verifyAfter > 0 && s.first <= verifyAfter+1 {
			start = i
		}
	}
	// The last segment may turn out to be torn at its first batch: then the
	// journal ends in the one before, and that end must be found too.
	start = max(0, min(start, len(j.segments)-2))
	if err := r.start(j.segments[start]); err != nil {
		return nil, err
	}
	last := j.segments[len(j.segments)-1]
	end := position{number: last.number, offset: last.size}
	for err == nil {
		_, err = r.read(j.segments, end)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errBlank):
		return nil, nil
	case errors.As(err, &damage) && r.segment.number == last.number:
		return damage, nil
	}
	return nil, err
}

// opening reports whether the batch opens its segment, so that the header goes
// too.
func (t *Tear) opening() bool { return t.Offset == sector }

// tail examines what follows the last good batch. It returns nil if nothing
// follows, a tear, or an error for damage.
func (j *Journal) tail(r *reader, damage *CorruptError, rest []candidate) (*Tear, error) {
	var found *Tear
	if len(j.segments) > 0 {
		t, err := r.scan.torn(r.offset, r.next)
		if err != nil {
			return nil, err
		}
		if damage != nil && t.Present == t.Sectors {
			return nil, damage // all of it was written, so it is not a tear
		}
		// A header alone means that only the header of a batch's write has
		// arrived.
		if t.Sectors > 0 || r.offset == sector {
			found = &t
		}
	} else if len(rest) > 0 && rest[0].number != 1 {
		return nil, &CorruptError{File: j.path(segmentName(rest[0].number - 1)), Reason: "the file is missing"}
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

// blankTail checks that a segment without a header is blank. The segment to be
// used next may hold a batch without its header, which did not arrive.
func (j *Journal) blankTail(c candidate, next uint64, usable bool) (*Tear, error) {
	s, err := j.scanFile(c)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	if !usable || c.size < smallestSize {
		return nil, s.zeros(0)
	}
	t, err := s.torn(sector, next)
	if err != nil || t.Sectors == 0 {
		return nil, err
	}
	return &t, nil
}

// locate finds the end of the journal, and refuses a journal that ends too
// early.
func (j *Journal) locate(r *reader, t *Tear, opts Options) error {
	live := len(j.segments)
	dropped := live > 0 && t != nil && t.opening() && t.File == j.path(j.segments[live-1].name)
	if dropped {
		live--
	}
	lost := &CorruptError{}
	switch {
	case live > 0:
		j.end = position{number: j.segments[live-1].number, offset: r.offset, last: r.next - 1, chain: r.chain}
		if dropped {
			j.end.offset = r.previous
		}
		j.next = j.end.number + 1
		lost.File, lost.Offset = j.path(j.segments[live-1].name), j.end.offset
	case dropped && j.segments[0].number != 1:
		// Pruning keeps the segment before until the first batch of the last
		// segment is durable.
		return &CorruptError{File: j.path(segmentName(j.segments[0].number - 1)), Reason: "the file is missing"}
	case !opts.Create && opts.Known == 0:
		return ErrEmpty
	default:
		j.next = 1
		j.end.last = opts.CreateAfter
		rand.Read(j.end.chain[:])
		lost.File = j.path(segmentName(1))
	}
	if t != nil {
		lost.File, lost.Offset = t.File, t.Offset
	}
	if j.end.last < opts.Known {
		lost.Reason = fmt.Sprintf("the journal ends with record %d, but record %d had been acknowledged", j.end.last, opts.Known)
		return lost
	}
	if live == 0 && !opts.Create {
		return ErrEmpty
	}
	return nil
}
