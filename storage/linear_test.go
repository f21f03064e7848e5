package storage_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// A call is one operation on a user's tokens, which are numbered from 0 to 63.
type call struct {
	user, slot int
	what       byte // create, use, revoke or list, by its first letter
}

// answer is what a call returned. It is unknown if the process was killed
// first.
type answer struct {
	unknown bool
	yes     bool   // for use: the token is live; for revoke: it was live until now
	slots   uint64 // for list
}

// tokensState has a bit for each of a user's tokens.
type tokensState struct{ created, revoked uint64 }

func (s tokensState) live() uint64 { return s.created &^ s.revoked }

// tokensModel is the specified behavior of a user's tokens. Users do not affect
// each other, so each is checked separately. A call with an unknown answer
// takes effect at some later time, perhaps at the very end, where nobody
// observes it.
var tokensModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		users := map[int][]porcupine.Operation{}
		for _, o := range history {
			user := o.Input.(call).user
			users[user] = append(users[user], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range users {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return tokensState{} },
	Step: func(state, input, output any) (bool, any) {
		s, c, a := state.(tokensState), input.(call), output.(answer)
		bit := uint64(1) << c.slot
		switch c.what {
		case 'c':
			s.created |= bit
		case 'u':
			return a.yes == (s.live()&bit != 0), s
		case 'r':
			ok := a.unknown || a.yes == (s.live()&bit != 0)
			s.revoked |= bit
			return ok, s
		case 'l':
			return a.slots == s.live(), s
		}
		return true, s
	},
}

// operations returns how many calls the test makes.
func operations(t *testing.T) int {
	text := os.Getenv("GATEHOUSE_TEST_OPERATIONS")
	if text == "" {
		return 30_000
	}
	n := must.Get(strconv.Atoi(text))(t)
	return n
}

// 16 clients use a store, and its process is killed now and then. Their results
// must be those of a single client that makes all calls one after the other, in
// an order that is consistent with the times. So no use succeeds that began
// after a revocation had returned.
//
// GATEHOUSE_TEST_OPERATIONS=1000000 runs the long form.
func TestLinearizable(t *testing.T) {
	storagetest.Slow(t)
	want := operations(t)
	const phases = 8
	r := &recorder{start: time.Now()}
	dir := t.TempDir()
	for phase := range phases {
		c := startChild(t, dir)
		r.phase(t, c, (phase+1)*want/phases)
	}
	r.close(t, dir)
	history := r.history()
	spent := time.Since(r.start)
	t.Logf("%d operations on %d users in %v, with %d kills between; %d calls were not answered",
		len(history), len(r.users), spent.Round(time.Millisecond), phases, r.unanswered.Load())
	if len(history) < want {
		t.Errorf("%d operations, want %d", len(history), want)
	}
	if !porcupine.CheckOperations(tokensModel, history) {
		t.Error("not linearizable")
	}
	t.Logf("checked in %v", (time.Since(r.start) - spent).Round(time.Millisecond))
	if lie(history); porcupine.CheckOperations(tokensModel, history) {
		t.Error("linearizable with a lie in it: the check is worth nothing")
	}
}

// lie makes the last use of a revoked token succeed.
func lie(history []porcupine.Operation) {
	for n := len(history) - 1; n >= 0; n-- {
		o := &history[n]
		if c, a := o.Input.(call), o.Output.(answer); c.what == 'u' && !a.yes {
			o.Output = answer{yes: true}
			return
		}
	}
}

const clients = 16

// recorder makes calls and records each with its begin, its end and its result.
type recorder struct {
	start      time.Time
	made       atomic.Int64 // recorded calls
	unanswered atomic.Int64

	mu    sync.Mutex
	users []*subject // the last few are the current ones

	logs [clients + 1][]porcupine.Operation
}

// subject is a user in the test.
type subject struct {
	number int
	id     storage.UserID

	mu     sync.Mutex
	next   int
	tokens []slotToken
}

type slotToken struct {
	Made
	slot int
}

func (r *recorder) log(client int, from int64, c call, a answer) {
	to := time.Since(r.start).Nanoseconds()
	if a.unknown {
		r.unanswered.Add(1)
		to = math.MaxInt64
	}
	r.made.Add(1)
	r.logs[client] = append(r.logs[client], porcupine.Operation{ClientId: client, Input: c, Call: from, Output: a, Return: to})
}

// phase runs the clients until that many calls were made, and then kills the
// process.
func (r *recorder) phase(t *testing.T, c *child, until int) {
	enough := make(chan struct{})
	end := sync.OnceFunc(func() { close(enough) })
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(until), uint64(i)))
			for errs[i] == nil {
				if errs[i] = r.call(c, i, random); r.made.Load() >= int64(until) {
					end()
				}
			}
			end()
		})
	}
	<-enough
	c.cmd.Process.Kill()
	wg.Wait()
	c.kill()
	for _, err := range errs {
		if !gone(err) {
			t.Fatal(err)
		}
	}
}

// subject picks one of the current users, and replaces it by a new one when its
// slots are used up.
func (r *recorder) subject(c *child, n int) (*subject, error) {
	const current = 6
	r.mu.Lock()
	defer r.mu.Unlock()
	recent := r.users[max(0, len(r.users)-current):]
	if len(recent) == current {
		if s := recent[n%current]; s.slots() < 64 {
			return s, nil
		}
	}
	s := &subject{number: len(r.users)}
	err := c.call("AddUser", fmt.Sprintf("user%d.%d@example.com", s.number, time.Now().UnixNano()), &s.id)
	if err == nil {
		r.users = append(r.users, s)
	}
	return s, err
}

func (s *subject) slots() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

func (r *recorder) call(c *child, client int, random *rand.Rand) error {
	s, err := r.subject(c, random.IntN(100))
	if err != nil {
		return err
	}
	switch dice := random.IntN(100); {
	case dice < 10:
		return r.create(c, client, s)
	case dice < 30:
		return r.list(c, client, s)
	default:
		s.mu.Lock()
		n := len(s.tokens)
		if n == 0 {
			s.mu.Unlock()
			return nil
		}
		token := s.tokens[random.IntN(n)]
		s.mu.Unlock()
		if dice < 40 {
			return r.revoke(c, client, s, token)
		}
		return r.use(c, client, s, token)
	}
}

func (r *recorder) now() int64 { return time.Since(r.start).Nanoseconds() }

func (r *recorder) create(c *child, client int, s *subject) error {
	s.mu.Lock()
	slot := s.next
	s.next++
	s.mu.Unlock()
	if slot >= 64 {
		return nil
	}
	var m Made
	from := r.now()
	err := c.call("Create", Ask{Owner: s.id, Name: strconv.Itoa(slot), Limited: slot%4 == 0}, &m)
	if err != nil && !gone(err) {
		return err
	}
	r.log(client, from, call{s.number, slot, 'c'}, answer{unknown: err != nil})
	if err == nil {
		s.mu.Lock()
		s.tokens = append(s.tokens, slotToken{m, slot})
		s.mu.Unlock()
	}
	return err
}

func (r *recorder) use(c *child, client int, s *subject, token slotToken) error {
	var a answer
	from := r.now()
	err := c.call("Use", token.Secret, &a.yes)
	if err == nil {
		r.log(client, from, call{s.number, token.slot, 'u'}, a)
	}
	return err
}

func (r *recorder) revoke(c *child, client int, s *subject, token slotToken) error {
	var n int
	from := r.now()
	err := c.call("Revoke", token.ID, &n)
	if err == nil || gone(err) {
		r.log(client, from, call{s.number, token.slot, 'r'}, answer{yes: n == 1, unknown: err != nil})
	}
	return err
}

func (r *recorder) list(c *child, client int, s *subject) error {
	var list []Listed
	from := r.now()
	if err := c.call("List", s.id, &list); err != nil {
		return err
	}
	var slots uint64
	for _, l := range list {
		slot, err := strconv.Atoi(l.Name)
		if err != nil {
			return err
		}
		slots |= 1 << slot
	}
	r.log(client, from, call{user: s.number, what: 'l'}, answer{slots: slots})
	return nil
}

// close lists every user once more, after the last kill, and uses every token.
func (r *recorder) close(t *testing.T, dir string) {
	c := startChild(t, dir)
	for _, s := range r.users {
		must.Do(t, r.list(c, clients, s))
		for _, token := range s.tokens {
			must.Do(t, r.use(c, clients, s, token))
		}
	}
	c.stop()
}

func (r *recorder) history() (all []porcupine.Operation) {
	for _, l := range r.logs {
		all = append(all, l...)
	}
	return all
}
