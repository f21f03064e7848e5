package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/wallclock"
)

const (
	idleAfter  = 90 * 24 * time.Hour // tokens unused for this long are revoked
	clockSteps = 60
	clockMost  = 12 // the largest number of tokens at one time
)

// clockwork is a store on a computer with a clock that is set at random. It knows the
// real time, and when each token was really used.
type clockwork struct {
	*torture
	store *storage.Store
	owner storage.UserID
	dir   string
	n     int // of directories

	boots int

	mu    sync.Mutex // guards the fields below: the store also reads the clock
	real  time.Time
	since time.Duration // time since the computer was started
	wrong time.Duration // how far the clock is ahead; negative: behind

	wrongFor time.Duration // since when

	tokens map[storage.ID]*timed
	bad    []string
	steps  []string
	tally  map[string]int
}

// did notes a step, to be shown if anything goes wrong.
func (c *clockwork) did(format string, args ...any) {
	c.steps = append(c.steps, c.when()+fmt.Sprintf(format, args...))
}

type timed struct {
	secret storage.Secret
	used   time.Time // the real time of the last use, or of the creation
	right  bool      // the use happened while the clock was right and trusted
}

// clock sets the clock of a store at random, forward and back, while the store runs, is
// stopped or killed, or the computer is restarted. It sweeps idle tokens as the server
// does. The clock stays wrong for less than a day.
func (t *torture) clock() error {
	if t.rounds == 0 {
		t.rounds = 100
	}
	began, tally, r := time.Now(), map[string]int{}, row{what: "clock"}
	for n := range t.rounds {
		c := &clockwork{torture: t, real: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), since: time.Hour, tokens: map[storage.ID]*timed{}, tally: tally, dir: t.path(fmt.Sprint("clock", n))}
		if err := c.round(); err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		if r.wrong += len(c.bad); len(c.bad) > 0 {
			t.log("round %d: %s", n, some(c.bad))
		}
		r.rounds, r.took = n+1, time.Since(began)
		if (n+1)%20 == 0 {
			t.log("%d rounds, %v, %s", n+1, tally, r.took.Round(time.Second))
		}
	}
	r.acked, r.note = tally["use"]+tally["create"]+tally["revoked"], fmt.Sprint(tally)
	t.table = append(t.table, r)
	return nil
}

func (c *clockwork) options() storage.Options {
	return storage.Options{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.real.Add(c.wrong)
		},
		Boot: func() time.Duration {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.since
		},
		BootID: fmt.Sprint("boot ", c.boots),
	}
}

// badf notes something that is wrong. The first time it logs what led to it.
func (c *clockwork) badf(format string, args ...any) {
	if len(c.bad) == 0 {
		c.log("%s", strings.Join(c.steps, "\n"))
	}
	c.bad = append(c.bad, c.when()+fmt.Sprintf(format, args...))
}

func (c *clockwork) when() string {
	return fmt.Sprintf("%s, boot %d, the clock %v ahead: ", c.real.Format(time.RFC3339), c.boots, c.wrong)
}

func (c *clockwork) round() (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	if c.store, err = storage.Open(c.dir, c.options()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.store.Close()) }()
	u, err := c.store.AddUser(by, uid(0, 0), "", "no hash")
	if err != nil {
		return err
	}
	c.owner = u.ID
	c.store.ConfirmTime(by)
	for range clockSteps {
		if err := c.step(); err != nil {
			return err
		}
		c.look()
	}
	c.set(0) // then let all of them get old
	c.store.Now()
	c.pass(wallclock.Settle + time.Hour)
	c.store.Now()
	if err := c.useAll(); err != nil {
		return err
	}
	c.pass(idleAfter + time.Hour)
	c.store.Now()
	c.sweep(true)
	if len(c.tokens) > 0 {
		c.badf("%d tokens are never idle", len(c.tokens))
	}
	return nil
}

func (c *clockwork) pass(d time.Duration) {
	if c.wrong != 0 && c.wrongFor+d >= wallclock.Settle {
		c.set(0) // nobody leaves a clock wrong for that long
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.real, c.since, c.wrongFor = c.real.Add(d), c.since+d, c.wrongFor+d
}

func (c *clockwork) set(wrong time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wrong != c.wrong {
		c.wrong, c.wrongFor = wrong, 0
		c.did("set")
		c.tally["set"]++
	}
}

func (c *clockwork) step() error {
	switch c.rand.IntN(10) {
	case 0:
		c.pass(c.within(time.Second, 20*24*time.Hour))
		c.store.Now()
	case 1:
		c.pass(c.within(time.Second, 12*time.Hour))
	case 2:
		year := 365 * 24 * time.Hour
		c.set([]time.Duration{0, 0, 0, 2 * time.Hour, 20 * 24 * time.Hour, year, 10 * year, -time.Hour, -year, -60 * year}[c.rand.IntN(10)])
	case 3:
		return c.again()
	case 4:
		c.sweep(false)
	case 5, 6:
		return c.create()
	default:
		return c.use()
	}
	return nil
}

// again stops or kills the store, perhaps restarts the computer, and opens the
// store again.
func (c *clockwork) again() error {
	if c.rand.IntN(3) == 0 {
		to, err := c.copy()
		if err != nil {
			return err
		}
		if err := errors.Join(c.store.Close(), os.RemoveAll(c.dir), os.Rename(to, c.dir)); err != nil {
			return err
		}
		c.tally["kill"]++
		c.did("killed")
	} else if err := c.store.Close(); err != nil {
		return err
	}
	if c.rand.IntN(2) == 0 {
		c.boots++
		c.since = 10 * time.Second
		c.tally["boot"]++
		c.did("started the computer again")
	}
	c.pass(c.within(time.Second, time.Hour))
	s, err := storage.Open(c.dir, c.options())
	if err != nil {
		return err
	}
	c.store = s
	<-s.Loaded()
	<-s.Counted()
	c.tally["start"]++
	_, doubt := s.Now()
	c.did("opened, doubt %v", doubt)
	return nil
}

// copy copies the store while it is open, as a kill would leave it. A kill may lose the
// uses of the last second, so copy waits until all are in the log of uses: until another
// store that is opened on a copy has counted them.
func (c *clockwork) copy() (to string, err error) {
	for range 1000 {
		counted, err := c.uses(c.store)
		if err != nil {
			return "", err
		}
		c.n++
		to = c.path(fmt.Sprintf("again%d", c.n))
		if err := storagetest.CopyStore(c.dir, to); err != nil {
			return "", err
		}
		if there, err := c.usesOfCopy(to); there >= counted || err != nil {
			return to, err
		}
		if err := os.RemoveAll(to); err != nil {
			return "", err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "", errors.New("uses are not in their log, however often it is read")
}

// usesOfCopy opens a store on a copy of a copy, and returns how many uses it counts.
func (c *clockwork) usesOfCopy(dir string) (n int64, err error) {
	again := dir + "-again"
	if err := storagetest.CopyStore(dir, again); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(again)) }()
	s, err := storage.Open(again, c.options())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	<-s.Loaded()
	<-s.Counted()
	return c.uses(s)
}

func (c *clockwork) uses(s *storage.Store) (n int64, err error) {
	list, err := tokensOf(s, storage.Owned{Owner: c.owner})
	for _, t := range list {
		n += t.Usage.Uses
	}
	return n, err
}

func (c *clockwork) create() error {
	if len(c.tokens) >= clockMost {
		return nil
	}
	v, secret, err := c.store.CreateToken(by, c.owner, storage.TokenSpec{})
	if err == nil {
		c.tokens[v.ID] = &timed{secret: secret, used: c.real}
		c.tally["create"]++
		c.did("created %s", v.ID)
	}
	return err
}

func (c *clockwork) use() error {
	for id := range c.tokens {
		return c.useOne(id)
	}
	return nil
}

func (c *clockwork) useAll() error {
	for id := range c.tokens {
		if err := c.useOne(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *clockwork) useOne(id storage.ID) error {
	v := c.tokens[id]
	if _, err := c.store.Authenticate(v.secret.Reveal(), home); err != nil {
		return fmt.Errorf("use %s: %w", id, err)
	}
	_, doubt := c.store.Now()
	v.used, v.right = c.real, c.wrong == 0 && doubt == nil
	c.tally["use"]++
	c.did("used %s, doubt %v", id, doubt)
	return nil
}

// sweep revokes idle tokens as the server does. If confirmed is set, it may
// revoke many at once.
func (c *clockwork) sweep(confirmed bool) {
	now, doubt := c.store.Now()
	f := storage.TokenFilter{IdleSince: now.Add(-idleAfter).UnixMilli()}
	if f.IdleSince <= 0 {
		return
	}
	ids, err := c.store.MatchTokens(f)
	if err != nil {
		c.badf("match idle tokens: %v", err)
		return
	}
	if len(ids) > 0 && doubt != nil || len(ids) > 5 && !confirmed {
		c.tally["held"]++
		return
	}
	if _, err := c.store.RevokeMatching(by, f, ids, nil); err != nil {
		c.badf("revoke idle tokens: %v", err)
	}
	for _, id := range ids {
		// Over a restart of the computer, a clock may be ahead by as much as an absence.
		// And a use while the clock is behind is noted only when the clock is right
		// again.
		v := c.tokens[id]
		if v == nil {
			c.badf("token %s was revoked already", id)
			continue
		}
		if age := c.real.Sub(v.used); age < idleAfter-wallclock.Absence-wallclock.Settle {
			c.badf("token %s was revoked %v after its last use", id, age)
		}
		delete(c.tokens, id)
		c.tally["revoked"]++
	}
}

// look compares what the store shows with the real times.
func (c *clockwork) look() {
	c.store.Now()                // if the clock has been set right, this is the moment that replaces wrong times
	c.pass(2 * time.Millisecond) // a use right after the creation is shown in the next millisecond
	now, doubt := c.store.Now()
	if doubt != nil {
		c.tally["doubt"]++
	}
	list, err := tokensOf(c.store, storage.Owned{Owner: c.owner})
	if err != nil {
		c.badf("%v", err)
	}
	if len(list) != len(c.tokens) {
		c.badf("%d tokens are listed, want %d", len(list), len(c.tokens))
	}
	for _, t := range list {
		created, used := c.store.Past(t.Created), c.store.Past(t.LastUsed)
		if created > now.UnixMilli() || used > now.UnixMilli() || created <= 0 || used <= 0 {
			c.badf("token %s: created %d, used %d, and it is %d", t.ID, created, used, now.UnixMilli())
		}
		v := c.tokens[t.ID]
		if v != nil && v.right && c.wrong == 0 && doubt == nil && used != v.used.UnixMilli() && used != created+1 {
			c.badf("token %s was used at %s, and %s is shown", t.ID, v.used, time.UnixMilli(used).UTC())
		}
	}
}
