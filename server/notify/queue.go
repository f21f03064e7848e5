package notify

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"gatehouse/server/notify/target"
	"gatehouse/storage/lasting"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
)

// How long a notice waits after it was not delivered, doubling from the first to the
// longest pause, and how long it is tried.
const (
	firstPause   = 5 * time.Second
	longestPause = 15 * time.Minute
	tryFor       = 24 * time.Hour
)

// graceful is how long deliveries under way may take when the server stops. A delivery
// that is cut off may be repeated.
const graceful = 8 * time.Second

// queue holds the notices that one target still lacks. They are in the store as well.
type queue struct {
	target  target.Target
	log     *slog.Logger
	failing lasting.State
	wake    chan struct{}

	most int           // that are in memory; the others are only in the store
	rest *notices.Walk // finds the others

	mu       sync.Mutex
	beyond   int // about how many others there are
	list     []*waiting
	has      map[record.NoticeID]bool // what is in the list or being delivered
	done     map[record.NoticeID]bool // what was done since the notices in the store were last read
	until    time.Time                // when the target is tried again
	failures int                      // of the target, in a row
	why      error                    // of the last failure
}

// waiting is a notice in a queue.
type waiting struct {
	record.Notice
	next     time.Time
	failures int
	taken    bool // the target has it, or never will; only the record is missing
}

// atOnce is how many deliveries to a target go on at the same time.
func atOnce(name string) int {
	if name == target.NameWebhook {
		return 4
	}
	return 2
}

// add adds a notice, unless the queue has it. If the queue is full, the notice stays in the
// store until there is room.
func (q *queue) add(n record.Notice) {
	q.mu.Lock()
	has := q.has[n.ID] || q.done[n.ID]
	full := len(q.has) >= q.most
	switch {
	case has:
	case full:
		q.beyond++
		q.rest.News()
	default:
		q.has[n.ID] = true
	}
	q.mu.Unlock()
	if !has && !full {
		q.put(&waiting{Notice: n})
	}
}

// forget clears done before the caller reads the store, which has recorded all of it.
func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.done)
}

// recount sets the number of notices that are only in the store to 0. All of them are read
// now, or are about to be.
func (q *queue) recount() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.beyond = 0
}

func (q *queue) put(w *waiting) {
	q.mu.Lock()
	q.list = append(q.list, w)
	q.mu.Unlock()
	q.nudge()
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// len returns how many notices the queue has.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.has)
}

// left returns about how many notices the target still lacks.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.has) + q.beyond
}

// next returns the first notice that is due, or how long to wait. While the target is down,
// notices that were made at or before old, a time in ms, are due: they are given up.
func (q *queue) next(old int64) (w *waiting, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, wait := time.Now(), time.Hour
	for i, one := range q.list {
		due := one.next
		if !one.taken && q.until.After(due) {
			due = q.until
		}
		if one.Made <= old && q.isDown(now) {
			due = now
		}
		if left := due.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		q.list = append(q.list[:i], q.list[i+1:]...)
		return one, 0
	}
	return nil, wait
}

// work delivers notices until the context ends.
func (s *Notifier) work(ctx context.Context, q *queue) {
	for ctx.Err() == nil {
		w, wait := q.next(s.tooOld())
		if w == nil {
			select {
			case <-q.wake:
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		}
		q.nudge() // another worker may find another one
		s.handle(ctx, q, w)
	}
}

// handle tries to deliver a notice. If it is not done, it goes back to the queue.
func (s *Notifier) handle(ctx context.Context, q *queue, w *waiting) {
	if err := q.down(); err != nil && w.Made <= s.tooOld() && !w.taken {
		s.giveUp(q, w, err)
		w.taken = true
	}
	if !w.taken {
		late, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { time.AfterFunc(graceful, cancel) })
		err := s.deliver(late, q, w)
		stop()
		cancel()
		w.taken = s.judge(q, w, err)
	}
	if w.taken {
		err := s.Store.Notices().Settle(w.ID, q.target.Name())
		if err == nil {
			q.mu.Lock()
			delete(q.has, w.ID)
			q.done[w.ID] = true
			empty := len(q.has) == 0
			q.mu.Unlock()
			if empty { // what was given up or revoked last must not look like a failing target forever
				q.failing.Set(nil)
			}
			return
		}
		if s.Store.Writable() == nil { // otherwise the server logs the cause, once
			q.log.Warn("a notice needs no further delivery, but that could not be recorded; the server tries again", "id", w.ID, "error", err)
		}
		w.next = time.Now().Add(firstPause)
	}
	q.put(w)
}

func (s *Notifier) deliver(ctx context.Context, q *queue, w *waiting) error {
	m, err := s.message(w.Notice, q.target.Name() == target.NameMail)
	if err != nil {
		return err
	}
	answer, err := q.target.Deliver(ctx, m)
	if err == nil {
		q.log.Debug("a notice is delivered", "id", m.ID, "answer", answer)
	}
	return err
}

// judge decides what follows from a delivery, and reports whether the notice is done with.
func (s *Notifier) judge(q *queue, w *waiting, err error) (done bool) {
	if errors.Is(err, errRevoked) {
		q.log.Debug("a notice is not sent: its token was revoked", "id", w.ID)
		return true
	}
	refused := target.Refused(err)
	q.mu.Lock()
	w.failures++
	w.next = time.Now().Add(pause(w.failures))
	switch {
	case err == nil || refused != nil:
		q.failures, q.until, q.why = 0, time.Time{}, nil
	default:
		q.failures++
		q.why = err
		q.until = time.Now().Add(pause(q.failures))
	}
	q.mu.Unlock()
	if err == nil {
		q.failing.Set(nil)
		s.Count.add(q.target.Name(), Delivered)
		return true
	}
	if refused == nil {
		q.failing.Set(err)
	}
	if refused != nil && refused.Final || w.Made <= s.tooOld() {
		s.giveUp(q, w, err)
		return true
	}
	s.Count.add(q.target.Name(), Failed)
	if refused != nil {
		q.log.Info("the target refused a notice; the server tries again later", "id", w.ID, "error", err)
	}
	return false
}

// tooOld returns a time, in ms: notices made at or before it are given up if they can't be
// delivered now. While the clock is in doubt, none are too old.
func (s *Notifier) tooOld() int64 {
	now, doubt := s.Store.Now()
	if doubt != nil {
		return math.MinInt64
	}
	return now.Add(-tryFor).UnixMilli()
}

func (s *Notifier) giveUp(q *queue, w *waiting, err error) {
	now, _ := s.Store.Now()
	age := now.Sub(time.UnixMilli(w.Made)).Round(time.Second)
	q.log.Warn("a notice was not delivered and is given up", "id", w.ID, "notice", string(w.Body), "age", age, "error", err)
	s.Count.add(q.target.Name(), GivenUp)
}

// surelyDown is how many failures in a row mean that a target is down. The notices that are
// too old are then given up together. One by one, with a pause after each, that would take weeks.
const surelyDown = 5

// down returns the last failure of a target that is down; nil: it is not.
func (q *queue) down() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isDown(time.Now()) {
		return q.why
	}
	return nil
}

// isDown reports whether the target is down. The caller holds the lock.
func (q *queue) isDown(now time.Time) bool { return q.failures >= surelyDown && q.until.After(now) }

func pause(failures int) time.Duration {
	return min(firstPause<<min(failures-1, 20), longestPause)
}
