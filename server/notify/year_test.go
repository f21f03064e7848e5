package notify

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/notify/smtptest"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const day = 24 * time.Hour

// world is a store with a clock that the test moves, and the notifier that runs on it.
type world struct {
	*testing.T
	dir   string
	cfg   config.Notify
	clock *storagetest.Clock
	log   *storagetest.Log
	held  []Hold
	most  int // notices of each target in memory; 0: as many as always

	store   *storage.Store
	n       *Notifier
	workers sync.WaitGroup
	cancel  context.CancelFunc
}

func newWorld(t *testing.T, cfg config.Notify) *world {
	w := &world{T: t, dir: t.TempDir(), cfg: cfg, clock: storagetest.NewClock(time.UnixMilli(1_800_000_000_000)), log: &storagetest.Log{}}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) options() storage.Options {
	return storage.Options{Now: w.clock.Now, Boot: w.clock.Boot, BootID: "boot", Checkpoints: 1000 * day}
}

// open opens the store, and lets a notifier work.
func (w *world) open() {
	w.Helper()
	var err error
	w.store, err = storage.Open(w.dir, w.options())
	must.Do(w, err)
	w.n, err = New(w.cfg, "https://tokens.example.com", Needs{
		Store: w.store, Log: slog.New(slog.NewTextHandler(w.log, nil)), Held: func() []Hold { return w.held },
	})
	must.Do(w, err)
	for _, q := range w.n.queues {
		q.most = cmp.Or(w.most, q.most)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.n.start(ctx, &w.workers)
}

// close stops as a server does.
func (w *world) close() {
	w.Helper()
	w.cancel()
	w.workers.Wait()
	w.n.close()
	must.Do(w, w.store.Close())
}

// settled looks, and waits until all is told.
func (w *world) settled() {
	w.Helper()
	must.Do(w, w.n.look())
	w.eventually("all is told", func() bool { return w.left() == 0 })
}

// bound bounds the notices of each target in memory, from now on.
func (w *world) bound(most int) {
	w.most = most
	w.close()
	w.open()
}

// left returns how many notices the targets have not got.
func (w *world) left() (n int) {
	for _, f := range w.n.Figures() {
		n += f.Pending
	}
	return n
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not so within a minute: %s\n%s", what, w.log)
		}
	}
}

// user adds a local user.
func (w *world) user(uid string) storage.User {
	w.Helper()
	u, err := w.store.AddUser(storage.Actor{Name: "test"}, uid, "", "")
	must.Do(w, err)
	return u
}

func (w *world) token(owner storage.UserID, life time.Duration) storage.Token {
	w.Helper()
	t, _, err := w.store.CreateToken(storage.Actor{Name: "test"}, owner, storage.TokenSpec{Name: "nightly", Lifetime: life.Milliseconds()})
	must.Do(w, err)
	return t
}

// TestYear: of 10,000 tokens, each owner is told 30, 7 and 1 day before the end, once
// each, although the server is
// restarted every two months, and a backup is restored over the store in the middle.
func TestYear(t *testing.T) {
	const users, step = 100, day
	tokens := 10_000
	if race || testing.Short() {
		tokens = 500
	}
	mail := smtptest.New(t, smtptest.Options{})
	templates := t.TempDir()
	must.Do(t, os.WriteFile(filepath.Join(templates, "token.ends.txt"), []byte("Subject: It ends\n\n{{.Token}} {{.Before}} {{.Owner}}\n"), 0o600))
	w := newWorld(t, config.Notify{
		SMTP: "smtp://" + mail.Address, From: "gatehouse@example.com", Templates: templates,
		BeforeExpiry: []config.Lifetime{{Duration: 30 * day}, {Duration: 7 * day}, {Duration: day}},
	})
	type fate struct {
		owner string
		end   time.Time
	}
	fates := map[string]fate{}
	var mu sync.Mutex
	var making sync.WaitGroup
	for n := range users {
		uid := fmt.Sprintf("user%d@example.com", n)
		u := w.user(uid)
		making.Go(func() {
			for k := range tokens / users {
				// From a month and a day to a year, spread evenly.
				life := 31*day + time.Duration(k*users+n)*(333*day/time.Duration(tokens))
				v := w.token(u.ID, life)
				mu.Lock()
				fates[v.ID.String()] = fate{uid, time.UnixMilli(v.Expires)}
				mu.Unlock()
			}
		})
	}
	making.Wait()
	w.settled()

	told := map[string]int{} // by "id before"
	seen, days := 0, 0
	var backup bytes.Buffer
	look := func() {
		w.settled()
		now := w.clock.Now()
		for _, m := range mail.Mails()[seen:] {
			seen++
			_, body, _ := strings.Cut(m.Data, "\r\n\r\n")
			words := strings.Fields(body)
			f := fates[words[0]]
			before := map[string]time.Duration{"30d": 30 * day, "7d": 7 * day, "1d": day}[words[1]]
			if due := f.end.Add(-before); f.owner != m.To || words[2] != m.To || before == 0 || due.After(now) || now.Sub(due) > step {
				t.Errorf("at %v %s is told %q, want %+v", now, m.To, body, f)
			}
			told[words[0]+" "+words[1]]++
		}
	}
	for at := time.Duration(0); at < 366*day; at += step {
		w.clock.Pass(step)
		look()
		if at%day != 0 {
			continue
		}
		switch days++; {
		case days == 150:
			_, err := w.store.Snapshot(context.Background(), &backup)
			must.Do(w, err)
		case days == 190: // forty days are lost, except for what was told
			w.close()
			_, err := storage.Restore(context.Background(), &backup, w.dir, w.options())
			must.Do(w, err)
			w.open()
		case days%60 == 0:
			w.close()
			w.open()
		}
	}
	once := 0
	for id := range fates {
		for _, before := range []string{"30d", "7d", "1d"} {
			if n := told[id+" "+before]; n == 1 {
				once++
			} else {
				t.Errorf("%s is told of %s %d times; it ends on day %v", id, before, n, fates[id].end.Sub(time.UnixMilli(1_800_000_000_000)).Hours()/24)
			}
		}
	}
	t.Logf("%d tokens, %d users: %d notices are due, %d mails came, %d exactly once", tokens, users, 3*tokens, seen, once)
}
