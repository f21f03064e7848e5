package journal

import (
	"errors"
	"fmt"
	"os"
)

// Need says whether a batch must work even when the disk is full.
type Need int

const (
	Ordinary  Need = iota
	Essential      // takes something away, such as a revocation, or makes that possible
)

// Append writes the entries as one batch, with one write, and makes them
// durable with one sync; then readers see them. It returns the sequence of the
// last entry. Only an [Essential] batch may use the reserve.
//
// After ErrFailed the next Open may or may not find the batch, and the journal
// takes no more entries. After any other error, such as ErrNoSpace or too many
// open files, nothing has been written, and the next Append may succeed.
func (j *Journal) Append(need Need, entries []Entry) (last uint64, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	length, err := j.admit(entries)
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	if len(entries) == 0 {
		return end.last, nil
	}

	p, err := j.place(need == Essential, end.offset, int64(sectorsFor(length))*sector)
	if err != nil {
		return 0, err
	}
	now := j.now().UnixMilli()
	out, chain := j.encoder.batch(end.last+1, end.chain, now, entries)
	if p.opens != nil {
		p.opens.first, p.opens.started, p.opens.chain = end.last+1, now, end.chain
		p.opens.encode(j.encoder.out, j.encoder.keyed)
		out = j.encoder.out
	}
	if err := j.write(p, out); err != nil {
		return 0, err
	}
	last = end.last + uint64(len(entries))
	j.publish(p, position{offset: p.offset + int64(len(out)), last: last, chain: chain})
	return last, nil
}

// write writes a batch with one write and one sync.
func (j *Journal) write(p place, out []byte) error {
	_, err := p.file.WriteAt(out, p.offset)
	if err == nil {
		if err = p.file.Sync(); err == nil {
			return nil
		}
		err = j.fail("sync", err)
	} else if undo := j.undo(p, len(out)); undo == nil {
		err = fmt.Errorf("write: %w", err)
	} else {
		err = j.fail("write", errors.Join(err, undo))
	}
	if p.ahead != nil {
		p.ahead.Close()
	}
	return err
}

// undo overwrites with zeros what a failed write may have written in part. This
// works as long as no sync has failed: until then the disk is known to store what
// it is told.
func (j *Journal) undo(p place, n int) error {
	if _, err := p.file.WriteAt(make([]byte, n), p.offset); err != nil {
		return fmt.Errorf("undo it: %w", err)
	}
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("undo it: %w", err)
	}
	return nil
}

// admit checks everything that can be checked without the disk, and returns the
// length of the entries as records.
func (j *Journal) admit(entries []Entry) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return 0, ErrClosed
	}
	if j.failed != nil {
		return 0, j.failed
	}
	length := 0
	for _, e := range entries {
		length += e.Size()
		if len(e.Actor) > mostActor || length > j.MaxBatch() {
			return 0, ErrTooLarge
		}
	}
	return length, nil
}

// A place is where a batch goes.
type place struct {
	file   File
	offset int64
	opens  *segment // the segment that begins with this batch, or nil
	ahead  File     // the reserve behind that segment, or nil
}

// place finds room for need bytes after the end. A batch that is not essential needs a
// blank segment behind the one it is written to, so it begins a new segment only when
// the one after that has been made.
func (j *Journal) place(essential bool, end, need int64) (place, error) {
	fits := j.out != nil && end+need <= j.room
	if j.reserve == nil && (!essential || !fits) {
		f, err := j.prepare(j.next)
		if err != nil {
			return place{}, err
		}
		j.hold(f)
	}
	if fits {
		return place{file: j.out, offset: end}, nil
	}
	p := place{file: j.reserve, opens: &segment{name: segmentName(j.next)}}
	p.opens.number, p.opens.size = j.next, j.size
	ahead, err := j.prepare(j.next + 1)
	if err != nil && (!essential || errors.Is(err, ErrFailed)) {
		return place{}, err
	}
	p.ahead = ahead
	return p, nil
}

// hold makes f the reserve.
func (j *Journal) hold(f File) {
	j.reserve = f
	j.mu.Lock()
	j.reserved = f != nil
	j.mu.Unlock()
}

// publish lets readers see a batch that has become durable.
func (j *Journal) publish(p place, end position) {
	if p.opens != nil {
		// A segment that is full has been synced; closing it loses nothing.
		if j.out != nil {
			j.out.Close()
		}
		j.out, j.room, j.reserve = p.file, p.opens.size, p.ahead
		j.next++
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if p.opens != nil {
		j.segments = append(j.segments[:len(j.segments):len(j.segments)], *p.opens)
		j.reserved = p.ahead != nil
	}
	end.number = j.segments[len(j.segments)-1].number
	j.end = end
	close(j.wake)
	j.wake = make(chan struct{})
}

// fail stops all further appends. A sync that failed once may report success
// the next time without having written anything, so there is no next time.
func (j *Journal) fail(what string, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = fmt.Errorf("%w: %s: %w", ErrFailed, what, err)
	return j.failed
}

// prepare makes a blank segment, and makes both its contents and its name
// durable. A lack of room for it is harmless, but a failed sync is fatal even
// here.
func (j *Journal) prepare(number uint64) (File, error) {
	name := segmentName(number)
	if err := j.disk.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the remains of %s: %w", name, err)
	}
	f, err := j.disk.Create(name)
	if err != nil {
		return nil, j.shortage(name, err)
	}
	if err := f.Allocate(j.size); err != nil {
		f.Close()
		j.disk.Remove(name)
		return nil, j.shortage(name, err)
	}
	err = f.Sync()
	if full(err) {
		f.Close()
		j.disk.Remove(name)
		return nil, j.shortage(name, err)
	}
	if err == nil {
		err = j.disk.Sync()
	}
	if err != nil {
		f.Close()
		return nil, j.fail("sync "+name, err)
	}
	return f, nil
}

func (j *Journal) shortage(name string, err error) error {
	if full(err) {
		return fmt.Errorf("%w: make %s: %w", ErrNoSpace, name, err)
	}
	return fmt.Errorf("make %s: %w", name, err)
}
