package server

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gatehouse/storage"
)

// throttle bounds how fast passwords can be guessed: by account, however its
// name is spelt and whether it exists or not, and by address. It delays, and
// never locks for good. What it counts is kept in the store, over a restart.
type throttle struct {
	store *storage.Store
	cfg   LoginConfig
	now   func() time.Time

	mu     sync.Mutex
	flying map[string]*flight
}

// flight counts the logins under way for one account. There are never more of them
// than failures are left until the delay, so that parallel guesses don't get past
// the limit.
type flight struct {
	n       int
	changed chan struct{} // closed when n falls
}

const (
	firstDelay = time.Second
	maxDelay   = 15 * time.Minute
)

// attempt is one login: who is to be let in, and from where.
type attempt struct {
	from      netip.Addr
	account   string // the name of its bucket
	subnets   []subnet
	forwarded bool // the password goes to a directory, which counts failures too
}

func newAttempt(username string, from netip.Addr) attempt {
	return attempt{
		from:    from,
		account: "account " + storage.Fold(strings.TrimSpace(username)),
		subnets: subnetsOf(from),
	}
}

// check returns a refusal (429) if the attempt comes too early, or nil.
func (t *throttle) check(a attempt) error {
	v, err := t.store.Attempts(a.account)
	if err != nil {
		return err
	}
	now := t.now()
	if wait := ahead(v.Until, now); wait > 0 {
		return tooMany(wait)
	}
	return t.checkAddress(a, now)
}

// ahead returns how far in the future a time is, and 0 if it has passed. No delay is
// longer than maxDelay: a time further ahead was written by a clock that has been
// set back since, and counts as passed.
func ahead(ms int64, now time.Time) time.Duration {
	if d := time.UnixMilli(ms).Sub(now); d <= maxDelay {
		return max(0, d)
	}
	return 0
}

// checkAddress refuses an address with too many failures in one of its networks. They
// are counted from the first one on for a minute, and then forgotten.
func (t *throttle) checkAddress(a attempt, now time.Time) error {
	for _, n := range a.subnets {
		v, err := t.store.Attempts(n.bucket())
		if err != nil {
			return err
		}
		if wait := ahead(v.Until, now); wait > 0 && int(v.Failures) >= t.cfg.AddressFailures*n.share {
			return tooMany(wait)
		}
	}
	return nil
}

func tooMany(wait time.Duration) error {
	return &httpError{status: http.StatusTooManyRequests, message: "Too many failed logins: try again later", retry: wait}
}

// enter waits until fewer logins of the account are under way, and adds this one to
// them. The caller must call leave with its outcome.
func (t *throttle) enter(ctx context.Context, a attempt) (leave func(outcome), err error) {
	for {
		changed, err := t.tryEnter(a)
		if err != nil {
			return nil, err
		}
		if changed == nil {
			return func(o outcome) { t.leave(a, o) }, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryEnter returns nil if it has entered, else what is closed when to try again.
func (t *throttle) tryEnter(a attempt) (wait chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(a); err != nil {
		return nil, err
	}
	v, err := t.store.Attempts(a.account)
	if err != nil {
		return nil, err
	}
	f := t.flying[a.account]
	if f == nil {
		f = &flight{changed: make(chan struct{})}
		if t.flying == nil {
			t.flying = make(map[string]*flight)
		}
		t.flying[a.account] = f
	}
	if f.n >= max(1, t.cfg.AccountFailures-int(v.Failures)) {
		return f.changed, nil
	}
	f.n++
	return nil, nil
}

// outcome of a login.
type outcome int

const (
	undecided outcome = iota // the password was not looked at
	accepted
	rejected
)

func (t *throttle) leave(a attempt, o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flying[a.account]
	f.n--
	close(f.changed)
	f.changed = make(chan struct{})
	if f.n == 0 {
		delete(t.flying, a.account)
	}
	switch o {
	case accepted:
		t.succeeded(a)
	case rejected:
		t.failed(a)
	}
}

func (t *throttle) succeeded(a attempt) {
	if v, err := t.store.Attempts(a.account); err != nil || v != (storage.Attempts{}) {
		t.store.SetAttempts(a.account, storage.Attempts{})
	}
}

// failed counts a failure. A count that can't be read starts at zero again: that an
// unreadable count refuses the login, check has seen to before.
func (t *throttle) failed(a attempt) {
	now := t.now()
	v, _ := t.store.Attempts(a.account)
	v.Failures++
	if over := int(v.Failures) - t.cfg.AccountFailures; over >= 0 {
		// A directory may lock for good what is only delayed here: it sees no more
		// failures than account_failures, and then one each maxDelay.
		delay := maxDelay
		if over < 10 && !a.forwarded {
			delay = min(maxDelay, firstDelay<<over)
		}
		v.Until = now.Add(delay).UnixMilli()
	}
	t.store.SetAttempts(a.account, v)
	t.failedFrom(a, now)
}

// rejectFrom counts a failure by address alone, where no account is known.
func (t *throttle) rejectFrom(a attempt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failedFrom(a, t.now())
}

func (t *throttle) failedFrom(a attempt, now time.Time) {
	for _, n := range a.subnets {
		v, _ := t.store.Attempts(n.bucket())
		if ahead(v.Until, now) == 0 {
			v = storage.Attempts{Until: now.Add(time.Minute).UnixMilli()}
		}
		v.Failures++
		t.store.SetAttempts(n.bucket(), v)
	}
}
