package order

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
)

// known is what is read from the index and then kept: the people, or the facts about tokens.
// It is not read, being read, or there. From the moment when the reading begins, or from the
// start if there is a copy, it collects notes of what changed.
type known[T, Note any] struct {
	sync.RWMutex
	value   *T       // nil: not there
	reading *reading // nil: nobody reads it
	notes   notes[Note]

	load func(*reading) (*T, error) // reads the copy that the last stop has left; nil: there is none
}

// pace is how fast a value is read.
type pace bool

const (
	atLeisure pace = false // one goroutine reads: nobody waits
	hurried   pace = true  // up to four goroutines read: a query waits
)

// get returns once the value is there, or can't be read. It reads the value, or waits for the
// goroutine that does.
func (k *known[T, Note]) get(closing <-chan struct{}, at pace, read func(*reading) (*T, error)) error {
	if k.there() != nil {
		return nil
	}
	k.Lock()
	if k.value != nil {
		k.Unlock()
		return nil
	}
	p, mine := k.reading, k.reading == nil
	if mine {
		p = &reading{closing: closing, hurried: make(chan struct{}), done: make(chan struct{})}
		k.reading = p
		k.notes.on.Store(true)
	}
	k.Unlock()
	if at == hurried {
		p.hurry()
	}
	if !mine {
		<-p.done
		return p.err
	}
	value, err := k.loadOr(read, p)
	k.Lock()
	defer k.Unlock()
	k.reading, p.err = nil, err
	if err == nil {
		k.value, k.load = value, nil
	} else if k.load == nil {
		k.notes.end()
	}
	close(p.done)
	return err
}

// loadOr loads the copy. If there is none, or it can't be used, it reads the index.
func (k *known[T, Note]) loadOr(read func(*reading) (*T, error), p *reading) (*T, error) {
	if k.load != nil { // only the goroutine that reads changes it
		if value, err := k.load(p); err == nil || errors.Is(err, disk.ErrClosed) {
			return value, err
		}
		k.Lock()
		k.load = nil
		k.Unlock()
	}
	return read(p)
}

// isKnown reports whether the value is there, or was at the last stop.
func (k *known[T, Note]) isKnown() bool {
	k.RLock()
	defer k.RUnlock()
	return k.value != nil || k.load != nil
}

// resume says that there is a copy of the value as it is now.
func (k *known[T, Note]) resume(load func(*reading) (*T, error)) {
	k.load = load
	k.notes.on.Store(true)
}

// giveUp forgets the copy if nobody has asked for it. It does not wait, and does nothing while
// the value is used: NoteUses calls it with the lock of a shard of the table, which others
// wait for while they use the value.
func (k *known[T, Note]) giveUp() {
	if !k.TryLock() {
		return
	}
	defer k.Unlock()
	if k.value == nil && k.reading == nil {
		k.load = nil
		k.notes.end()
	}
}

// there returns what is there, or nil. It does not wait for queries that use it.
func (k *known[T, Note]) there() *T {
	k.RLock()
	defer k.RUnlock()
	return k.value
}

// dropIf forgets the value if it is bad.
func (k *known[T, Note]) dropIf(bad func(*T) bool) {
	k.Lock()
	defer k.Unlock()
	if k.value != nil && bad(k.value) {
		k.value = nil
		k.notes.end()
	}
}

// notes lists the changes that are not yet applied to the value.
type notes[T any] struct {
	on   atomic.Bool // notes are collected
	mu   sync.Mutex
	list []T
	all  int // notes so far
	wake chan<- struct{}
}

// After manyNotes notes, Run applies them even if no query comes.
const manyNotes = 1024

// add returns how many notes there are now.
func (n *notes[T]) add(list ...T) int {
	if len(list) == 0 || !n.on.Load() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, list...)
	before := n.all
	if n.all += len(list); before/manyNotes != n.all/manyNotes {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	return len(n.list)
}

func (n *notes[T]) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.list)
}

func (n *notes[T]) take() []T {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func (n *notes[T]) end() {
	n.on.Store(false)
	n.take()
}

// reading is one run through the file or the index, part by part. While no query waits, one
// goroutine reads, and rests most of the time.
type reading struct {
	closing <-chan struct{}
	once    sync.Once
	hurried chan struct{} // closed when somebody waits
	done    chan struct{}
	err     error // once done is closed
}

func (p *reading) hurry() { p.once.Do(func() { close(p.hurried) }) }

// parts calls read with all bytes, and stops at the first error.
func (p *reading) parts(read func(byte, *worker) error) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	over := make(chan struct{})
	errs := make([]error, min(4, runtime.GOMAXPROCS(0)))
	work := func(n int) {
		w := worker{reading: p, since: time.Now()}
		for b := next.Add(1) - 1; b < 256; b = next.Add(1) - 1 {
			if disk.IsClosed(p.closing) {
				errs[n] = disk.ErrClosed
			} else {
				errs[n] = read(byte(b), &w)
			}
			if errs[n] != nil {
				next.Store(256)
			}
		}
	}
	for n := range errs[1:] {
		wg.Go(func() {
			select {
			case <-p.hurried:
				work(n + 1)
			case <-over:
			}
		})
	}
	work(0)
	close(over)
	wg.Wait()
	return errors.Join(errs...)
}

// worker is a goroutine of a reading.
type worker struct {
	*reading
	records int
	since   time.Time
	buf     []byte // of the parts of a file
}

const (
	restEvery = 64                     // records; eight times as many when somebody waits
	restTimes = 5                      // as long as the work before it, if nobody waits
	restMost  = 100 * time.Millisecond // the work may have been interrupted, and the index is held for so long
)

// rest leaves the processor to others, after some records. As long as every processor has
// work, even work that yields, Go looks only every 10 ms for requests that have come in:
// beside a search that never slept they took three times as long.
func (w *worker) rest() {
	if w.records++; w.records%restEvery == 0 && (w.records%(8*restEvery) == 0 || !disk.IsClosed(w.hurried)) {
		w.pause()
	}
}

// pauseAfter rests if there was so much work since the last time.
func (w *worker) pauseAfter(work time.Duration) {
	if time.Since(w.since) > work {
		w.pause()
	}
}

func (w *worker) pause() {
	defer func() { w.since = time.Now() }()
	if disk.IsClosed(w.hurried) {
		time.Sleep(20 * time.Microsecond)
		return
	}
	select {
	case <-time.After(min(restTimes*time.Since(w.since), restMost)):
	case <-w.hurried:
	case <-w.closing:
	}
}
