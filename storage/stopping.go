package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/sealed"
	"gatehouse/storage/uses"
)

// release closes everything that Open has opened.
func (c *stopping) release() error {
	s := c.s
	s.clock.Stop()
	if s.checkpoints.retention != nil {
		s.checkpoints.retention.Stop()
	}
	s.upkeep.stop()
	s.writer.Stop()
	if s.facts != nil {
		s.facts.Close()
	}
	return errors.Join(s.opening.Close(c.indexEnd()), s.space.Close(), c.lock.Close())
}

// Close waits for the changes under way, flushes lastUsed and closes the
// store. Changes asked for later return ErrClosed.
//
// It returns within 15 seconds even if the disk fails: Badger tries forever to write
// what it has in memory, and a disk may not answer at all. The error then says what is
// not written. The caller should then end the process. No acknowledged change is lost
// by that: it is in the journal, and the next start reads it there.
func (s *Store) Close() (err error) {
	s.stop.once.Do(func() {
		s.stop.end = time.Now().Add(closeIndexMost)
		defer s.writer.Stop()
		defer s.upkeep.stop()
		closed := make(chan error, 1)
		go func() { closed <- s.stop.closeAll() }()
		select {
		case err = <-closed:
		case <-time.After(closeMost):
			err = fmt.Errorf("the store is still not closed after %v, because its disk does not answer; it was about to %s", closeMost, s.stop.what())
		}
	})
	return err
}

const (
	// closeMost is how long Close may take.
	closeMost = 15 * time.Second
	// closeIndexMost is how much of that time Badger may take. The rest is for closing
	// the other files properly.
	closeIndexMost = 12 * time.Second
)

// stopping closes the store, and keeps track of how far that has come.
type stopping struct {
	s       *Store
	lock    *disk.DirLock  // of the directory
	quit    func()         // closes s.closing
	running sync.WaitGroup // waits for the writer, the upkeep and the opening to end
	once    sync.Once
	within  time.Duration // how long it may take to bring uses into the index
	end     time.Time     // the deadline for the index; zero: this is not a stop
	step    atomic.Pointer[string]
}

func (c *stopping) to(step string) { c.step.Store(&step) }

func (c *stopping) what() string {
	if step := c.step.Load(); step != nil {
		return *step
	}
	return "begin"
}

func (c *stopping) closeAll() error {
	s := c.s
	c.to("finish the changes under way")
	c.quit()
	saveErr := s.uses.SaveAll() // the index may still be opening, and a second signal may come
	c.running.Wait()
	if err := s.opening.Err(); err != nil {
		if errors.Is(err, ErrClosed) {
			err = nil // the expected reason
		}
		return errors.Join(err, saveErr, c.release())
	}
	settled := c.settle() // as long as the index can be read
	s.index.Shut()
	if s.space.Lack(index.Floor) != nil {
		s.space.DropBallast() // closing writes a table too
	}
	if err := s.space.Lack(index.Floor); err != nil {
		s.index.Stop() // it ends with the process, as in a kill
		return errors.Join(saveErr, fmt.Errorf("close the index: %w", err), c.release())
	}
	c.to("write the last uses")
	err := c.flush()
	whole := err == nil && s.index.Behind() == nil && s.writer.Failed() == nil && !s.index.Damaged()
	err = errors.Join(err, c.closeIndex())
	if whole && err == nil {
		c.to("write the table of tokens")
		err = c.leaveTable()
	}
	if err == nil {
		c.to("write what is known of the clock")
		s.clock.Close()
	}
	if whole && settled && err == nil {
		c.to("write what queries ask for")
		c.leaveFacts()
	}
	return errors.Join(err, c.release())
}

// leaveTable writes the table's file, so that the next start need not build the
// table.
func (c *stopping) leaveTable() error {
	m, err := c.moment()
	if err != nil {
		return err
	}
	return c.s.checkpoints.writeTable(m)
}

// moment returns where the journal and the log of uses end.
func (c *stopping) moment() (sealed.Moment, error) {
	end, err := c.s.opening.UseLog.End()
	return sealed.Moment{Position: c.s.journal.End(), Uses: end}, err
}

// factsWithin is how long a stop may take to bring what queries ask for up to date, and then
// to write it.
const factsWithin = 3 * time.Second

// settle brings what queries ask for up to date, and reports whether that is done.
func (c *stopping) settle() bool {
	c.to("bring what queries ask for up to date")
	ctx, cancel := context.WithTimeout(context.Background(), factsWithin)
	defer cancel()
	return c.s.views.Settle(ctx.Done()) == nil
}

// leaveFacts writes what queries ask for, so that the first query after the next start need
// not wait until it is read. If that fails, the next start reads it.
func (c *stopping) leaveFacts() {
	s, end := c.s, time.Now().Add(factsWithin)
	if end.After(c.indexEnd()) {
		end = c.indexEnd()
	}
	m, err := c.moment()
	if err == nil {
		err = s.space.Lack(s.views.FileSize() + s.space.Watermark())
	}
	if err == nil {
		err = s.views.WriteFile(s.path("facts"), s.seals, m, func() error {
			if time.Now().After(end) {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
	}
	if err != nil {
		s.opts.Log.Debug("what queries ask for is not saved", "because", err)
	}
}

// closeWithin is how long a stop may take to bring uses into Badger. The
// remaining uses stay in their log, and the next start recovers them as after a
// kill.
const closeWithin = 2 * time.Second

func (c *stopping) flush() error {
	s := c.s
	if err := s.upkeep.save(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsaved, err)
	}
	if !s.uses.Recovered() {
		return nil
	}
	err := s.uses.Merge(time.Now().Add(c.within), func() error { return nil })
	switch {
	case errors.Is(err, uses.ErrBusy):
		return nil
	case errors.Is(err, ErrDamaged):
		s.index.NoteDamage(err) // the uses stay in their log
		return nil
	}
	return err
}

func (c *stopping) closeIndex() error {
	c.to("close the index")
	return c.s.index.Close(c.indexEnd())
}

// indexEnd is when the index must be closed.
func (c *stopping) indexEnd() time.Time {
	if c.end.IsZero() { // the store could not be opened
		return time.Now().Add(closeIndexMost)
	}
	return c.end
}

// abandon closes a store that can't be opened.
func (c *stopping) abandon() error {
	c.quit()
	c.running.Wait()
	return c.release()
}
