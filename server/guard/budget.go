package guard

import (
	"net/http"
	"sync"
	"time"

	"gatehouse/server/reply"
	"gatehouse/storage"
)

// Budget bounds how many changes a user may make in an hour. Each change is kept
// in the audit log for as long as that is kept, so without a bound one token could
// fill the disk for everybody. What ends something (a revocation, a logout) is
// never counted.
//
// It is kept only in memory: a restart clears it.
type Budget struct {
	message string
	now     func() time.Time
	began   time.Time // minutes are counted from here, by the monotonic clock

	mu    sync.Mutex
	limit int // changes an hour; 0: no limit
	users map[storage.UserID][]minute
	swept int64 // the minute when users were last removed
}

// minute is how many changes a user made in one minute.
type minute struct {
	at int64
	n  int
}

// budgetMinutes is how far the budget looks back.
const budgetMinutes = 60

// NewBudget returns a budget of limit changes an hour; 0: no limit. The message is that of
// a refusal.
func NewBudget(limit int, message string, now func() time.Time) *Budget {
	return &Budget{limit: limit, message: message, now: now, began: now(), users: make(map[storage.UserID][]minute)}
}

// SetLimit changes the limit, from the next change on.
func (b *Budget) SetLimit(changes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = changes
}

// Spend runs a change of the user's, and counts it if it succeeds. Over the limit
// it returns a refusal (429) instead.
func (b *Budget) Spend(user storage.UserID, change func() error) error {
	if wait := b.take(user, 1); wait > 0 {
		return &reply.Error{Status: http.StatusTooManyRequests, Message: b.message, Retry: wait}
	}
	err := change()
	if err != nil {
		b.take(user, -1)
	}
	return err
}

// take counts n changes, or returns how long to wait until one more is allowed.
func (b *Budget) take(user storage.UserID, n int) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit == 0 {
		return 0
	}
	since := b.now().Sub(b.began)
	now := int64(since / time.Minute)
	b.sweep(now)
	list := recent(b.users[user], now)
	made := 0
	for _, m := range list {
		made += m.n
	}
	if n > 0 && made >= b.limit {
		b.users[user] = list
		return time.Duration(list[0].at+budgetMinutes)*time.Minute - since
	}
	if len(list) == 0 || list[len(list)-1].at < now {
		list = append(list, minute{at: now})
	}
	last := &list[len(list)-1]
	last.n = max(0, last.n+n)
	b.users[user] = list
	return 0
}

// recent cuts off the minutes that no longer count, and those without a change.
func recent(list []minute, now int64) []minute {
	for len(list) > 0 && (list[0].at <= now-budgetMinutes || list[0].n == 0) {
		list = list[1:]
	}
	return list
}

// sweep forgets, once a minute, the users without a recent change.
func (b *Budget) sweep(now int64) {
	if b.swept == now {
		return
	}
	b.swept = now
	for user, list := range b.users {
		if len(recent(list, now)) == 0 {
			delete(b.users, user)
		}
	}
}
