package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// A Copy reads the journal as it was at one moment, byte for byte. So the chain of a
// journal that is laid out from it (see Layout) verifies and can go on. While a Copy
// is open, nothing is pruned.
type Copy struct {
	j        *Journal
	segments []segment
	end      position
}

// A Piece is a part of a segment's file. The file has zeros wherever no piece
// covers it.
type Piece struct {
	Segment uint64 // its number
	Size    int64  // of the file
	Offset  int64
	Bytes   []byte // valid until the next piece
}

// Copy begins a copy of everything that is durable now. The caller must close
// it.
func (j *Journal) Copy() (*Copy, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, ErrClosed
	}
	j.copies++
	return &Copy{j: j, segments: j.segments, end: j.end}, nil
}

// Close allows pruning again.
func (c *Copy) Close() {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	c.j.copies--
}

// End returns the position after the last record in the copy.
func (c *Copy) End() Position { return Position{c.end.last, c.end.chain} }

// Segments returns the first sequence of each segment, the oldest segment
// first.
func (c *Copy) Segments() (first []uint64) {
	for _, s := range c.segments {
		first = append(first, s.first)
	}
	return first
}

// pieceSize is about how long a piece is.
const pieceSize = 256 << 10

// Read calls fn with the pieces of segment number from and of those after it, in
// order, and verifies the chain on the way. It returns the number of the segment in
// which it ended, and an error of ctx, an error of fn, or a *CorruptError.
func (c *Copy) Read(ctx context.Context, from int, fn func(Piece) error) (ended int, err error) {
	if from >= len(c.segments) {
		return from, nil
	}
	r := c.j.reader()
	defer r.close()
	if err := r.start(c.segments[from]); err != nil {
		return from, err
	}
	p := Piece{Segment: r.segment.number, Size: r.segment.size}
	put := func() error {
		if len(p.Bytes) == 0 {
			return nil
		}
		err := fn(p)
		p.Offset, p.Bytes = p.Offset+int64(len(p.Bytes)), p.Bytes[:0]
		return err
	}
	number := func() int { return int(r.segment.number - c.segments[0].number) }
	for {
		if err := ctx.Err(); err != nil {
			return number(), err
		}
		_, err := r.read(c.segments, c.end)
		if errors.Is(err, io.EOF) {
			return number(), put()
		}
		if errors.Is(err, errBlank) {
			err = r.scan.corrupt(r.offset, "acknowledged records are missing here")
		}
		if err != nil {
			return number(), err
		}
		if p.Segment != r.segment.number || len(p.Bytes) >= pieceSize {
			if err := put(); err != nil {
				return number(), err
			}
		}
		if p.Segment != r.segment.number {
			p = Piece{Segment: r.segment.number, Size: r.segment.size, Bytes: p.Bytes}
		}
		at := r.at
		if at == sector {
			at = 0 // the header goes with the first batch
		}
		b, err := r.scan.view(at, int(r.offset-at))
		if err != nil {
			return number(), err
		}
		p.Bytes = append(p.Bytes, b...)
	}
}

// A Layout writes the files of a copy into a directory. Open then verifies them there.
type Layout struct {
	disk   Disk
	file   File
	number uint64 // of the segment
	size   int64  // of its file
	end    int64  // offset after the last written byte
}

// mostSegment is the largest segment size that a copy may claim.
const mostSegment = 1 << 30

// NewLayout makes the directory.
func NewLayout(dir string) (*Layout, error) {
	if err := makeDirectory(dir); err != nil {
		return nil, err
	}
	d, err := openDirectory(dir)
	if err != nil {
		return nil, err
	}
	return &Layout{disk: d}, nil
}

// Put writes the next piece.
func (l *Layout) Put(p Piece) error {
	if p.Segment != l.number || l.file == nil {
		if err := l.leave(); err != nil {
			return err
		}
		f, err := l.disk.Create(segmentName(p.Segment))
		if err != nil {
			return err
		}
		l.file, l.number, l.size, l.end = f, p.Segment, p.Size, 0
	}
	if p.Size != l.size || p.Size > mostSegment || p.Offset < l.end || p.Offset+int64(len(p.Bytes)) > p.Size {
		return &CorruptError{File: segmentName(p.Segment), Offset: p.Offset, Reason: "this piece is in the wrong place"}
	}
	l.end = p.Offset + int64(len(p.Bytes))
	_, err := l.file.WriteAt(p.Bytes, p.Offset)
	return err
}

// leave gives a segment that is not the last its length, and not all of its space.
func (l *Layout) leave() error {
	l.end = max(l.end, l.size-1)
	return l.finish()
}

// finish gives a segment all of its space. The last one needs it: something will be
// appended.
func (l *Layout) finish() (err error) {
	if l.file == nil {
		return nil
	}
	for l.end < l.size && err == nil {
		var n int
		n, err = l.file.WriteAt(nothing[:min(int64(len(nothing)), l.size-l.end)], l.end)
		l.end += int64(n)
	}
	if err == nil {
		err = l.file.Sync()
	}
	err = errors.Join(err, l.file.Close())
	l.file = nil
	return err
}

// Reset removes everything that was written: the copy begins again with a later
// segment.
func (l *Layout) Reset() error {
	if err := l.leave(); err != nil {
		return err
	}
	names, err := l.disk.Names()
	for _, name := range names {
		err = errors.Join(err, l.disk.Remove(name))
	}
	return err
}

// Close makes everything durable.
func (l *Layout) Close() error {
	return errors.Join(l.finish(), l.disk.Sync(), l.disk.Close())
}

// Append encodes a piece.
func (p Piece) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, p.Segment)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	return append(b, p.Bytes...)
}

// DecodePiece reads what Append wrote.
func DecodePiece(b []byte) (p Piece, ok bool) {
	if len(b) < 24 {
		return p, false
	}
	p.Segment = binary.BigEndian.Uint64(b)
	p.Size, p.Offset = int64(binary.BigEndian.Uint64(b[8:])), int64(binary.BigEndian.Uint64(b[16:]))
	p.Bytes = b[24:]
	return p, p.Segment > 0 && p.Size > 0 && p.Offset >= 0
}

// MarshalText and UnmarshalText write a position into JSON in the form of String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}
