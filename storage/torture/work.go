package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"gatehouse/storage"
)

const (
	writers   = 8
	usersEach = 4
	holdMost  = 40 // the largest number of tokens of a user
)

var by = storage.Actor{Name: "torture", Address: "192.0.2.1"}

func uid(writer, n int) string { return fmt.Sprintf("w%du%d@example.com", writer, n) }

// open opens the store as work and check do: with a clock that runs ahead.
func open(dir string, ahead, checkpoints time.Duration, log io.Writer) (*storage.Store, error) {
	return storage.Open(dir, storage.Options{
		Log:         slog.New(slog.NewTextHandler(log, nil)),
		MaxPerUser:  holdMost,
		Checkpoints: checkpoints,
		Now:         func() time.Time { return time.Now().Add(ahead) },
	})
}

// work is the child. It changes the store until it is killed, or makes the given
// number of changes and closes the store. Its arguments are the directory, how far
// its clock runs ahead, a seed, how often it makes a checkpoint (0: once a day), and
// the number of changes of each writer. If that number is -1, it opens the store and
// changes nothing.
func work(args []string) error {
	ahead, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	checkpoints, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	s, err := open(args[0], ahead, checkpoints, io.Discard)
	if err != nil {
		return err
	}
	if most < 0 {
		select {}
	}
	errs := make(chan error)
	for n := range writers {
		w := &writer{n: n, store: s, ahead: ahead, rand: rand.New(rand.NewPCG(seed, uint64(n)))}
		go func() { errs <- w.run(most) }()
	}
	for range writers {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, s.Close())
}

// writer changes only its own users and tokens, so that it knows what the
// result of each change must be.
type writer struct {
	n     int
	store *storage.Store
	ahead time.Duration // of its clock
	rand  *rand.Rand
	users [usersEach]storage.User
	held  [usersEach][]token
	op    int
}

type token struct {
	id     storage.ID
	secret storage.Secret
}

// say writes one line with one write, which a kill can't split. If a line is
// lost, only the acknowledgment is lost.
func (w *writer) say(format string, args ...any) {
	os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (w *writer) run(most int) error {
	for n := range w.users {
		if err := w.begin(n); err != nil {
			return err
		}
	}
	for range most {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

// begin finds or creates a user, and finds its tokens.
func (w *writer) begin(n int) error {
	name := uid(w.n, n)
	u, err := w.store.User(name)
	if errors.Is(err, storage.ErrNoUser) {
		w.say("? %d add %s", w.n, name)
		if u, err = w.store.AddUser(by, name, "", "no hash"); err == nil {
			w.say("! %d %016x", w.n, uint64(u.ID))
		}
	}
	if err != nil {
		return err
	}
	w.users[n] = u
	list, err := tokensOf(w.store, storage.Owned{Owner: u.ID})
	for _, t := range list {
		w.held[n] = append(w.held[n], token{t.ID, w.store.Reveal(t)})
	}
	return err
}

func (w *writer) step() error {
	n := w.rand.IntN(usersEach)
	switch k := w.rand.IntN(100); {
	case k < 5:
		return w.changeState(n)
	case k < 35 && len(w.held[n]) > 0:
		return w.revoke(n)
	case k < 60 && len(w.held[n]) > 0 && w.users[n].State == storage.UserActive:
		return w.use(n)
	case w.users[n].State == storage.UserActive:
		return w.create(n)
	}
	return nil
}

// changeState disables or enables a user.
func (w *writer) changeState(n int) error {
	u := &w.users[n]
	if u.State == storage.UserActive {
		w.say("? %d disable %s", w.n, u.UID)
		u.State = storage.UserDisabled
		if err := w.store.DisableUser(by, u.UID); err != nil {
			return err
		}
	} else {
		w.say("? %d enable %s", w.n, u.UID)
		u.State = storage.UserActive
		if err := w.store.EnableUser(by, u.UID); err != nil {
			return err
		}
	}
	w.say("! %d", w.n)
	return nil
}

func (w *writer) revoke(n int) error {
	i := w.rand.IntN(len(w.held[n]))
	id := w.held[n][i].id
	w.say("? %d revoke %s", w.n, id)
	if done, err := w.store.RevokeTokens(by, id); err != nil || done != 1 {
		return fmt.Errorf("revoke %s: %d, %w", id, done, err)
	}
	w.say("! %d", w.n)
	w.held[n] = append(w.held[n][:i], w.held[n][i+1:]...)
	return nil
}

// use uses a token, and reports the time by the real clock and by the store's.
func (w *writer) use(n int) error {
	v := w.held[n][w.rand.IntN(len(w.held[n]))]
	w.say("? %d use %s", w.n, v.id)
	stored := time.Now().Add(w.ahead).UnixMilli() // or slightly later
	if _, err := w.store.Authenticate(v.secret.Reveal(), home); err != nil {
		return fmt.Errorf("use %s: %w", v.id, err)
	}
	w.say("! %d %d %d", w.n, time.Now().UnixMilli(), stored)
	return nil
}

// create names the token after its writer and the time, so that a token in
// flight can be distinguished from others.
func (w *writer) create(n int) error {
	w.op++
	name := fmt.Sprintf("%d.%d.%d", w.n, w.op, time.Now().UnixNano())
	if len(w.held[n]) >= holdMost {
		_, _, err := w.store.CreateToken(by, w.users[n].ID, storage.TokenSpec{Name: name})
		if !errors.Is(err, storage.ErrTooMany) {
			return fmt.Errorf("%s holds %d tokens and may have another: %v", w.users[n].UID, len(w.held[n]), err)
		}
		return nil
	}
	w.say("? %d create %s %s", w.n, w.users[n].UID, name)
	t, secret, err := w.store.CreateToken(by, w.users[n].ID, storage.TokenSpec{Name: name})
	if err != nil {
		return err
	}
	w.say("! %d %s %s", w.n, t.ID, secret.Reveal())
	w.held[n] = append(w.held[n], token{t.ID, secret})
	return nil
}
