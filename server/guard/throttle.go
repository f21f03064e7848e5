package guard

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/unlogged"
)

// Throttle bounds how fast passwords can be guessed: by account, however its
// name is spelt and whether it exists or not, and by address. It delays, and
// never locks for good. Its counts are kept in the store, so they survive a restart.
type Throttle struct {
	counts *unlogged.Expiring
	cfg    func() config.Logins
	now    func() time.Time

	mu     sync.Mutex
	flying map[string]*flight // by bucket

	local, forwarded pace
}

// flight counts the logins under way on one bucket. There are never more of them
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

// NewThrottle returns a throttle that keeps its counts in a store. The settings are asked for
// with each login.
func NewThrottle(counts *unlogged.Expiring, settings func() config.Logins, now func() time.Time) *Throttle {
	return &Throttle{counts: counts, cfg: settings, now: now}
}

// Check returns a refusal (429) if the attempt comes too early. The refusal takes as long
// as a check of the password would have taken.
func (t *Throttle) Check(ctx context.Context, a Attempt) error {
	_, err := t.bucket(a)
	if err != nil {
		t.Wait(ctx, a)
	}
	return err
}

// Took notes that the password of an attempt has been checked just now.
func (t *Throttle) Took(a Attempt) { t.pace(a).note(time.Since(a.begun)) }

// Wait blocks until a check of the password of an attempt would have been done, or ctx
// ends.
func (t *Throttle) Wait(ctx context.Context, a Attempt) { t.pace(a).wait(ctx, a.begun) }

// bucket returns the name of the count that lets an attempt in: the account's or,
// while the account is delayed, that of the home it comes from. If neither does, it
// returns a refusal (429).
func (t *Throttle) bucket(a Attempt) (name string, err error) {
	now := t.now()
	v, err := t.counts.Attempts(a.account)
	if err != nil {
		return "", err
	}
	name = a.account
	if wait := ahead(v.Until, now); wait > 0 {
		home, err := t.atHome(a)
		if err != nil {
			return "", err
		}
		name = homeBucket(a.account, a.network)
		own, err := t.counts.Attempts(name)
		if err != nil {
			return "", err
		}
		if !home || ahead(own.Until, now) > 0 {
			return "", tooMany(wait)
		}
	}
	return name, t.checkNetworks(a.networks, now)
}

func (t *Throttle) pace(a Attempt) *pace {
	if a.forwarded {
		return &t.forwarded
	}
	return &t.local
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

// CheckAddress returns a refusal (429) if there were too many failures from an address or
// one of its networks.
func (t *Throttle) CheckAddress(from netip.Addr) error {
	return t.checkNetworks(ipaddr.Networks(from), t.now())
}

// checkNetworks is CheckAddress for the networks of an address. Failures are counted from
// the first one on for a minute, and then forgotten.
func (t *Throttle) checkNetworks(networks []ipaddr.Network, now time.Time) error {
	for _, n := range networks {
		v, err := t.counts.Attempts(networkBucket(n))
		if err != nil {
			return err
		}
		if wait := ahead(v.Until, now); wait > 0 && int(v.Failures) >= t.cfg().AddressFailures*n.Share {
			return tooMany(wait)
		}
	}
	return nil
}

func tooMany(wait time.Duration) error {
	return &reply.Error{Status: http.StatusTooManyRequests, Message: "Too many failed logins: try again later", Retry: wait}
}

// Enter waits until fewer logins of the account are under way, and adds this one to
// them. The caller must call leave with its outcome and error, and answer with the
// error that leave returns.
func (t *Throttle) Enter(ctx context.Context, a Attempt) (leave func(Outcome, error) error, err error) {
	for {
		bucket, changed, err := t.tryEnter(a)
		if err != nil {
			return nil, err
		}
		if changed == nil {
			return func(o Outcome, err error) error { return t.leave(a, bucket, o, err) }, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryEnter returns the bucket that it has entered, or a channel that is closed when the
// caller may try again.
func (t *Throttle) tryEnter(a Attempt) (bucket string, wait chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bucket, err = t.bucket(a); err != nil {
		return "", nil, err
	}
	v, err := t.counts.Attempts(bucket)
	if err != nil {
		return "", nil, err
	}
	f := t.flying[bucket]
	if f == nil {
		f = &flight{changed: make(chan struct{})}
		if t.flying == nil {
			t.flying = make(map[string]*flight)
		}
		t.flying[bucket] = f
	}
	if f.n >= max(1, t.cfg().AccountFailures-int(v.Failures)) {
		return "", f.changed, nil
	}
	f.n++
	return bucket, nil, nil
}

// leave counts an outcome, and returns what the caller is told in place of err.
func (t *Throttle) leave(a Attempt, bucket string, o Outcome, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flying[bucket]
	f.n--
	close(f.changed)
	f.changed = make(chan struct{})
	if f.n == 0 {
		delete(t.flying, bucket)
	}
	switch o {
	case Accepted:
		t.succeeded(a)
	case Rejected:
		return t.failed(a, bucket, err)
	}
	return err
}

// succeeded forgets the failures before a login. Those of strangers that delay the
// account at the moment stay.
func (t *Throttle) succeeded(a Attempt) {
	if v, err := t.counts.Attempts(a.account); err != nil || ahead(v.Until, t.now()) == 0 {
		t.forget(a.account)
	}
	t.forget(homeBucket(a.account, a.network))
	t.settle(a)
}

// failed counts a failure. A failure of an attempt that only a home let in counts only
// there, and is answered with the refusal that anybody else gets.
func (t *Throttle) failed(a Attempt, bucket string, err error) error {
	now := t.now()
	home, _ := t.atHome(a)
	if home {
		t.count(a, homeBucket(a.account, a.network), now)
	}
	if bucket != a.account {
		v, _ := t.counts.Attempts(a.account)
		if wait := ahead(v.Until, now); wait > 0 {
			return tooMany(wait)
		}
		return err
	}
	t.count(a, a.account, now)
	t.failedFrom(a.networks, now)
	return err
}

// count adds a failure to a bucket. A count that can't be read starts at zero again:
// bucket has refused the login before because of it.
func (t *Throttle) count(a Attempt, bucket string, now time.Time) {
	v, _ := t.counts.Attempts(bucket)
	v.Failures++
	if over := int(v.Failures) - t.cfg().AccountFailures; over >= 0 {
		// A directory may lock an account for good that is only delayed here: it sees no
		// more failures than account_failures, and then one each maxDelay.
		delay := maxDelay
		if over < 10 && !a.forwarded {
			delay = min(maxDelay, firstDelay<<over)
		}
		v.Until = now.Add(delay).UnixMilli()
	}
	t.counts.SetAttempts(bucket, v)
}

// RejectFrom counts a failure by address alone, for a login that names no account.
func (t *Throttle) RejectFrom(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failedFrom(ipaddr.Networks(from), t.now())
}

func (t *Throttle) failedFrom(networks []ipaddr.Network, now time.Time) {
	for _, n := range networks {
		v, _ := t.counts.Attempts(networkBucket(n))
		if ahead(v.Until, now) == 0 {
			v = storage.Attempts{Until: now.Add(time.Minute).UnixMilli()}
		}
		v.Failures++
		t.counts.SetAttempts(networkBucket(n), v)
	}
}
