package notices

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// mostKept is how many tokens Deadlines keeps in memory, in 24 bytes each.
const mostKept = 1 << 16

// Deadlines says when the next notice of the end of a token is due, and which token it is,
// without looking at all tokens each time.
//
// It keeps all deadlines up to a certain time in memory. When that time comes, it walks
// through all tokens again. If no more than mostKept tokens have an end, it walks only once
// after each start.
type Deadlines struct {
	// Walk calls fn with each live token that ends, with the times in ms.
	Walk func(fn func(id keys.ID, created, end int64) error) error
	// Known returns what is known of a token.
	Known func(id keys.ID) (record.Known, error)

	most int // 0: mostKept

	mu    sync.Mutex
	steps []int64 // ms, the longest first; none: there are no notices of ends
	next  deadlines
	until int64 // before this time, in ms, next has all deadlines
}

// deadline is when to look at a token, in ms.
type deadline struct {
	at int64
	id keys.ID
}

// deadlines is a heap: the first deadline is the next.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(v any)        { *d = append(*d, v.(deadline)) }
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

const forever = 1<<63 - 1

// Use sets the steps: how long before the end of a token there is a notice.
func (d *Deadlines) Use(steps []time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps = nil
	for _, s := range steps {
		d.steps = append(d.steps, s.Milliseconds())
	}
	slices.Sort(d.steps)
	slices.Reverse(d.steps)
	d.next, d.until = nil, 0
}

// Reset forgets the deadlines: the ends of many tokens have changed.
func (d *Deadlines) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next, d.until = nil, 0
}

// Step returns the latest step that a token has reached, in ms; 0: none. A
// step does not count if the token was made within it: its maker knows the end.
func (d *Deadlines) Step(created, end, now int64) (step int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.steps {
		if at := end - s; at <= now && at > created {
			step = s
		}
	}
	return step
}

// Note makes Due return a token when its next step begins.
func (d *Deadlines) Note(id keys.ID, created, end, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.steps {
		if at := end - s; at > now && at > created {
			d.add(deadline{at, id})
			return
		}
	}
}

// Again makes Due return a token at a time, in ms.
func (d *Deadlines) Again(id keys.ID, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(deadline{at, id})
}

// add adds a deadline. The caller holds the lock.
func (d *Deadlines) add(v deadline) {
	if v.at >= d.until {
		return // the next walk finds it
	}
	heap.Push(&d.next, v)
	most := d.most
	if most == 0 {
		most = mostKept
	}
	if len(d.next) < 2*most {
		return
	}
	slices.SortFunc(d.next, func(a, b deadline) int { return cmp.Compare(a.at, b.at) })
	d.until = d.next[most].at
	d.next = slices.Clone(d.next[:most])
}

// Due returns up to most tokens that are due now, in ms. The caller makes the notice
// of each, and then calls Note or Again.
func (d *Deadlines) Due(now int64, most int) (due []keys.ID, err error) {
	d.mu.Lock()
	walk := len(d.steps) > 0 && now >= d.until && (len(d.next) == 0 || d.next[0].at > now)
	d.mu.Unlock()
	if walk {
		if err := d.walk(now); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.next) > 0 && d.next[0].at <= now && len(due) < most {
		due = append(due, heap.Pop(&d.next).(deadline).id)
	}
	return due, nil
}

// walk finds the deadlines again. Note may be called at the same time.
func (d *Deadlines) walk(now int64) error {
	d.mu.Lock()
	d.next, d.until = nil, forever
	d.mu.Unlock()
	err := d.Walk(func(id keys.ID, created, end int64) error {
		if end <= now {
			return nil
		}
		if step := d.Step(created, end, now); step > 0 {
			k, err := d.Known(id)
			if err != nil {
				return err
			}
			if !k.Told(end, step) {
				d.Again(id, now)
				return nil
			}
		}
		d.Note(id, created, end, now)
		return nil
	})
	if err != nil {
		d.Reset()
	}
	return err
}
