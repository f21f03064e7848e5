package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// A reader walks the chain from the start of a segment.
type reader struct {
	j        *Journal
	scan     scanner
	segment  segment
	offset   int64
	next     uint64 // sequence expected
	chain    link   // value expected
	at       int64  // offset of the batch read last
	previous int64  // where the segment before ended
}

func (j *Journal) reader() *reader { return &reader{j: j, scan: scanner{keyed: newKeyed(j.key)}} }

func (r *reader) close() {
	if r.scan.file != nil {
		r.scan.file.Close()
		r.scan.file = nil
	}
}

// enter opens a segment and checks its header against the known one.
func (r *reader) enter(s segment) error {
	r.close()
	f, err := r.j.disk.Open(s.name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		if r.j.oldest() > s.number {
			return ErrPruned
		}
		return &CorruptError{File: r.j.path(s.name), Reason: "the file is missing"}
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	r.scan.file, r.scan.path, r.scan.limit = f, r.j.path(s.name), s.size
	r.scan.window = r.scan.window[:0]
	h, err := r.scan.header()
	if errors.Is(err, errBlank) {
		return r.scan.corrupt(0, "the segment's header is missing")
	}
	if err != nil {
		return err
	}
	if h != s.header {
		return r.scan.corrupt(0, "the header does not belong to this segment")
	}
	r.segment, r.offset = s, sector
	return nil
}

// start enters the first segment to be read. Its header sets the chain.
func (r *reader) start(s segment) error {
	r.next, r.chain = s.first, s.chain
	return r.enter(s)
}

// read returns the next batch before end, a position in the last of segments.
// At end it returns io.EOF. If it finds blank space before end, it returns
// errBlank.
func (r *reader) read(segments []segment, end position) (batch, error) {
	for {
		limit, last := r.segment.size, r.segment.number == end.number
		if last {
			limit = end.offset
		}
		if last && r.offset >= limit {
			return batch{}, io.EOF
		}
		// The window may have been filled when the journal was shorter.
		if r.scan.limit != limit {
			r.scan.limit, r.scan.window = limit, r.scan.window[:0]
		}
		b, err := r.scan.batch(r.offset)
		if errors.Is(err, errBlank) && !last {
			if err := r.follow(segments); err != nil {
				return batch{}, err
			}
			continue
		}
		if err != nil {
			return batch{}, err
		}
		if b.first != r.next || b.before != r.chain {
			return batch{}, r.scan.corrupt(r.offset, "the batch does not continue the chain")
		}
		if b.count < 1 {
			return batch{}, r.scan.corrupt(r.offset, "the batch is empty")
		}
		r.at = r.offset
		r.offset += int64(b.sectors) * sector
		r.next += uint64(b.count)
		r.chain = b.mac
		return b, nil
	}
}

// follow moves on to the next segment when one has ended.
func (r *reader) follow(segments []segment) error {
	if err := r.scan.zeros(r.offset); err != nil {
		return err
	}
	i := slices.IndexFunc(segments, func(s segment) bool { return s.number == r.segment.number+1 })
	if i < 0 {
		return ErrPruned // the reader was too slow, and the oldest segment is gone
	}
	if next := segments[i]; next.first != r.next || next.chain != r.chain {
		return r.scan.corrupt(r.offset, fmt.Sprintf("records are missing here: the next segment begins with record %d, not %d",
			next.first, r.next))
	}
	r.previous = r.offset
	return r.enter(segments[i])
}

// oldest is the number of the first segment.
func (j *Journal) oldest() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) == 0 {
		return 0
	}
	return j.segments[0].number
}

// durable returns what can be read now, and a channel that is closed when there
// is more to read.
func (j *Journal) durable() ([]segment, position, <-chan struct{}, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, position{}, nil, ErrClosed
	}
	return j.segments, j.end, j.wake, nil
}

// from enters the segment that holds the record after the given sequence.
func (r *reader) from(segments []segment, after uint64) error {
	first := 0
	for i, s := range segments {
		if s.first <= after+1 {
			first = i
		}
	}
	return r.start(segments[first])
}

// Replay calls fn with each record after the given sequence that was durable
// when Replay was called, oldest first. fn may keep the payload. An error of fn
// ends the replay, and Replay returns it unchanged. Other errors: those of ctx,
// ErrPruned when the record after+1 is no longer kept (FirstSequence-1 asks for
// all records), ErrClosed, *CorruptError.
func (j *Journal) Replay(ctx context.Context, after uint64, fn func(Record) error) error {
	segments, end, _, err := j.durable()
	if err != nil {
		return err
	}
	r := j.reader()
	defer r.close()
	_, err = r.replay(ctx, segments, end, after, fn)
	return err
}

// replay reads up to end and returns the sequence reached. The reader may have
// read before.
func (r *reader) replay(ctx context.Context, segments []segment, end position, after uint64, fn func(Record) error) (uint64, error) {
	if after >= end.last {
		return after, nil
	}
	if r.scan.file == nil {
		if segments[0].first > after+1 {
			return after, ErrPruned
		}
		if err := r.from(segments, after); err != nil {
			return after, err
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return after, err
		}
		b, err := r.read(segments, end)
		if errors.Is(err, io.EOF) {
			return after, nil
		}
		if errors.Is(err, errBlank) {
			err = r.scan.corrupt(r.offset, "acknowledged records are missing here")
		}
		if err != nil {
			return after, err
		}
		if r.next <= after+1 {
			continue
		}
		list, ok := records(bytes.Clone(b.plain), b.first, b.count)
		if !ok {
			return after, r.scan.corrupt(r.at, "the batch does not consist of records")
		}
		for _, record := range list {
			if record.Sequence <= after {
				continue
			}
			if err := fn(record); err != nil {
				return after, err
			}
			after = record.Sequence
		}
	}
}

// Follow yields the records after the given sequence, and then each new one as
// soon as it is durable. It ends with an error, yielded once: that of ctx,
// ErrClosed, ErrPruned or *CorruptError.
func (j *Journal) Follow(ctx context.Context, after uint64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := j.reader()
		defer r.close()
		reached := after
		for {
			segments, end, more, err := j.durable()
			if err == nil {
				reached, err = r.replay(ctx, segments, end, reached, func(record Record) error {
					if !yield(record, nil) {
						return errStopped
					}
					return nil
				})
			}
			if errors.Is(err, errStopped) {
				return
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
		}
	}
}

// errStopped ends the replay when a loop over Follow stops early.
var errStopped = errors.New("stopped")

// Verify reads the whole chain that is durable now, including the parts that
// Open has skipped. It returns a *CorruptError for the first thing that was
// changed.
func (j *Journal) Verify(ctx context.Context) error {
	for {
		err := j.Replay(ctx, j.FirstSequence()-1, func(Record) error { return nil })
		if !errors.Is(err, ErrPruned) { // pruned segments need no verification
			return err
		}
	}
}
