package storage_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/rekey"
	"gatehouse/storage/storagetest/must"
)

// RotateAsk asks for a rotation.
type RotateAsk struct {
	Retire time.Duration
	Kill   int // the step after which the process kills itself
}

// Rotate rotates the key, and returns the number of steps.
func (c *Child) Rotate(a RotateAsk, steps *int) error {
	c.s.OnRotation(func(string) {
		if *steps == a.Kill {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
		*steps++
	})
	_, err := c.s.RotateKey(admin, a.Retire)
	return err
}

// TestRotateKilled kills the process after each step of a rotation, while tokens are made.
// No token that was made is lost, and the store has either the keys from before or the new
// ones, with all that belongs to them.
func TestRotateKilled(t *testing.T) {
	for kill := 0; ; kill++ {
		dir := t.TempDir()
		c := startChild(t, dir)
		var owner storage.UserID
		must.Do(t, c.call("AddUser", "alice@example.com", &owner))
		var mu sync.Mutex
		var made []string
		var making sync.WaitGroup
		first := make(chan struct{})
		for n := range 4 {
			making.Go(func() {
				for more := 0; more < 200; more++ {
					var m Made
					if err := c.call("Create", Ask{Owner: owner}, &m); err != nil {
						return // killed
					}
					mu.Lock()
					made = append(made, m.Secret)
					mu.Unlock()
					if n == 0 && more == 0 {
						close(first)
					}
				}
			})
		}
		<-first
		steps := 0
		err := c.call("Rotate", RotateAsk{Retire: time.Hour, Kill: kill}, &steps)
		making.Wait()
		if err != nil && !gone(err) {
			t.Fatal(err)
		}
		c.kill()

		s := open(t, dir)
		for _, secret := range made {
			wantLive(t, s, secret)
		}
		_, list := must.Get2(s.Keys())(t)
		events := actions(t, s, "key")
		switch len(list) {
		case 1:
			if err == nil || list[0].Ends != 0 || len(events) > 0 && events[len(events)-1] != storage.ActionKeyKept {
				t.Errorf("killed after step %d (%v): the keys are %v, the events %v", kill, err, list, events)
			}
		case 2:
			if list[1].Ends == 0 || len(events) != 1 || events[0] != storage.ActionKeyRotate {
				t.Errorf("killed after step %d: the keys are %v, the events %v", kill, list, events)
			}
		default:
			t.Errorf("killed after step %d: the keys are %v", kill, list)
		}
		t.Logf("killed after step %d (%v): %d token keys, %d tokens, events %v", kill, err, len(list), len(made), events)
		if done, err := s.RotateKey(admin, 0); err != nil || int(done.TokenKey) != len(list)+1 {
			t.Errorf("killed after step %d: the next rotation: %+v, %v", kill, done, err)
		}
		must.Do(t, s.Close())
		if err == nil {
			if kill < 5 || steps != kill {
				t.Errorf("there were %d steps", steps)
			}
			return
		}
	}
}

// actions returns the actions of one kind in the audit log, once all are in it.
func actions(t *testing.T, s *storage.Store, kind string) (list []string) {
	t.Helper()
	must.Do(t, s.Record(admin, storage.Event{Action: storage.ActionImport})) // after what was noted before
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		if strings.HasPrefix(e.Action, kind+".") {
			list = append(list, e.Action)
		}
	}
	return list
}

func rotate(t *testing.T, s *storage.Store, retire time.Duration) storage.KeyRotation {
	t.Helper()
	done := must.Get(s.RotateKey(admin, retire))(t)
	return done
}

// TestRetire: the tokens of a retired key end at the given time, or earlier by themselves,
// and say so. Newer ones work on. All of it survives a restart.
func TestRetire(t *testing.T) {
	clock, dir := newClock(), t.TempDir()
	s := openWith(t, dir, timed(t, clock))
	alice := addUser(t, s, "alice@example.com")
	id, old := create(t, s, alice)
	short, soon := must.Get2(s.CreateToken(admin, alice.ID, storage.TokenSpec{Lifetime: time.Hour.Milliseconds()}))(t)
	end := clock.Milli() + (24 * time.Hour).Milliseconds()
	if done := rotate(t, s, 24*time.Hour); done.Ends != end || done.TokenKey != 2 {
		t.Errorf("the rotation says %+v", done)
	}
	young, secret := create(t, s, alice)
	check := func(s *storage.Store) {
		t.Helper()
		for id, want := range map[storage.ID]int64{id: end, short.ID: short.Expires, young: 0} {
			if v, err := s.Token(id); err != nil || v.Ends() != want {
				t.Errorf("token %s ends at %d, %v, want %d", id, v.Ends(), err, want)
			}
		}
		if b, err := s.Inspect(old, home.Address); err != nil || !b.Limited() {
			t.Errorf("a token of a retired key may fetch others: %+v, %v", b, err)
		}
		if b, err := s.Inspect(secret, home.Address); err != nil || b.Limited() {
			t.Errorf("the new token is limited: %+v, %v", b, err)
		}
	}
	check(s)
	if c, err := s.Census(2*time.Hour, 48*time.Hour); err != nil || c.Live != 3 || c.Ending[0] != 1 || c.Ending[1] != 2 {
		t.Errorf("the census is %+v, %v", c, err)
	}
	must.Do(t, s.RenameToken(admin, id, "nightly"))
	must.Do(t, s.Close())
	s = openWith(t, dir, timed(t, clock))
	check(s)
	clock.Pass(2 * time.Hour)
	wantDead(t, s, soon.Reveal())
	wantLive(t, s, old)
	clock.Pass(22*time.Hour - time.Millisecond)
	wantLive(t, s, old)
	clock.Pass(time.Millisecond)
	wantDead(t, s, old)
	wantLive(t, s, secret)
	if v, err := s.Token(id); err != nil || !v.Expired(clock.Milli()) || v.Expires != 0 {
		t.Errorf("the ended token: %+v, %v", v, err)
	}
}

// A clock that can't be trusted must not set an end.
func TestRetireInDoubt(t *testing.T) {
	clock := newClock()
	opts := timed(t, clock)
	opts.Boot = clock.Boot
	s := openWith(t, t.TempDir(), opts)
	clock.Move(100 * 24 * time.Hour)
	if _, err := s.RotateKey(admin, time.Hour); err == nil {
		t.Error("a clock in doubt has set the end of all tokens")
	}
	rotate(t, s, 0)
}

// TestRotateWithHeldKey: a store that was given its key, and not the right to read the
// file, takes the new key after a rotation.
func TestRotateWithHeldKey(t *testing.T) {
	dir := t.TempDir()
	s := openWith(t, dir, storage.Options{})
	must.Do(t, s.Close())
	held := must.Get(keys.ReadFile(filepath.Join(dir, "key")))(t)
	s = openWith(t, dir, storage.Options{Key: held})
	for _, rotate := range []bool{false, true, true} {
		if rotate {
			must.Get(s.RotateKey(admin, 0))(t)
		}
		if list, _, err := s.Keys(); err != nil || !list[0].Opens || list[0].Written.IsZero() {
			t.Errorf("after a rotation %v: got %+v, %v, want a key file that opens the keyring", rotate, list, err)
		}
	}
	s.CheckpointWhenDue(t.Context())
	if _, list, err := s.Keys(); err != nil || len(list) != 1 {
		t.Errorf("drop the keys without tokens: %d are left, %v, want 1", len(list), err)
	}
}

// TestDropKeys: a token key is dropped with its last token, and not earlier.
func TestDropKeys(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	id, old := create(t, s, alice)
	last, _ := create(t, s, alice)
	rotate(t, s, 0)
	_, secret := create(t, s, alice)
	want := func(n int) {
		t.Helper()
		s.CheckpointWhenDue(t.Context())
		r, _, err := rekey.Load(path(s, "keyring"), s.Opening().KeyFile, s.Opening().Key, false)
		if list := s.Opening().Tokens.List(); err != nil || len(list) != n || len(r.Tokens) != n {
			t.Errorf("there are %d token keys, and %d on the disk (%v), want %d", len(list), len(r.Tokens), err, n)
		}
	}
	want(2)
	must.Get(s.RevokeTokens(admin, last))(t)
	want(2)
	wantLive(t, s, old)
	must.Get(s.RevokeTokens(admin, id))(t)
	want(1)
	want(1)
	wantDead(t, s, old)
	wantLive(t, s, secret)
	if got := fmt.Sprint(actions(t, s, "key")); got != "[key.rotate key.drop]" {
		t.Errorf("the events are %v", got)
	}
}

// After a rotation a checkpoint is made, also by the next start: the old key opens the
// keyring in the last one.
func TestCheckpointAfterRotation(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	must.Do(t, s.Checkpoint(t.Context()))
	renewed := func(dir string) bool {
		keyring := must.Get(os.ReadFile(filepath.Join(dir, "store", "keyring")))(t)
		return bytes.Contains(must.Get(os.ReadFile(filepath.Join(dir, "store", "checkpoint")))(t), keyring)
	}
	at := ""
	for at == "" || renewed(at) { // the upkeep was quicker
		create(t, s, alice) // so that no token key is dropped
		rotate(t, s, 0)
		at = copyDir(t, dir)
	}
	open(t, at)
	for _, dir := range []string{dir, at} {
		must.Happen(t, "a checkpoint with the present keyring", func() bool { return renewed(dir) })
	}
}

// TestRestoreOverRotation restores backups from before and after a rotation.
func TestRestoreOverRotation(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	_, old := create(t, s, alice)
	before := backupOf(t, s)
	firstKey := must.Get(os.ReadFile(filepath.Join(dir, "key")))(t)
	done := rotate(t, s, 24*time.Hour)
	_, young := create(t, s, alice)
	after := backupOf(t, s)
	must.Do(t, s.Close())
	secondKey := must.Get(os.ReadFile(filepath.Join(dir, "key")))(t)
	const oldName = "key.old-20261129T130000Z"

	for name, c := range map[string]struct {
		backup  []byte
		over    bool              // the store that was rotated; else an empty directory
		keys    map[string][]byte // the key files
		wrong   bool              // refused
		oldKey  bool              // an old key opened the backup
		young   bool              // the token made after the rotation works
		current byte              // the key of new tokens
		ends    bool              // the old token ends
	}{
		"before, over the store":            {before, true, map[string][]byte{"key": secondKey, oldName: firstKey}, false, true, false, 2, true},
		"before, over the store, old gone":  {before, true, map[string][]byte{"key": secondKey}, true, false, false, 0, false},
		"before, over the store, first key": {before, true, map[string][]byte{"key": firstKey, oldName: secondKey}, false, false, false, 2, true},
		"before, first key":                 {before, false, map[string][]byte{"key": firstKey}, false, false, false, 1, false},
		"before, both keys":                 {before, false, map[string][]byte{"key": secondKey, oldName: firstKey}, false, true, false, 1, false},
		"before, second key":                {before, false, map[string][]byte{"key": secondKey}, true, false, false, 0, false},
		"after, over the store":             {after, true, map[string][]byte{"key": secondKey}, false, false, true, 2, true},
		"after, second key":                 {after, false, map[string][]byte{"key": secondKey}, false, false, true, 2, true},
		"after, first key":                  {after, false, map[string][]byte{"key": firstKey}, true, false, true, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if c.over {
				to = copyDir(t, dir)
				for _, f := range []string{"key", filepath.Base(done.Old)} {
					must.Do(t, os.Remove(filepath.Join(to, f)))
				}
			}
			for name, b := range c.keys {
				put(t, filepath.Join(to, name), b, 0o600)
			}
			r, err := storage.Restore(context.Background(), bytes.NewReader(c.backup), to, storage.Options{})
			if c.wrong {
				if !errors.Is(err, keys.ErrWrong) {
					t.Fatalf("got %v, want %v", err, keys.ErrWrong)
				}
				return
			}
			if err != nil || (r.OldKey != "") != c.oldKey {
				t.Fatalf("got %+v, %v", r, err)
			}
			must.Do(t, os.RemoveAll(filepath.Join(to, oldName))) // it is not needed any more
			s := open(t, to)
			wantLive(t, s, old)
			if c.young {
				wantLive(t, s, young)
			} else {
				wantDead(t, s, young)
			}
			id, _, _ := s.Identify(old)
			if v, err := s.Token(id); err != nil || (v.Ends() != 0) != c.ends {
				t.Errorf("the old token ends at %d, %v", v.Ends(), err)
			}
			u := must.Get(s.User("alice@example.com"))(t)
			if id, secret := create(t, s, u); id[0] != c.current {
				t.Errorf("a new token has the key %d, want %d", id[0], c.current)
			} else {
				wantLive(t, s, secret)
			}
		})
	}
	t.Run("the key put in place later", func(t *testing.T) {
		to := t.TempDir()
		if r, err := storage.Restore(context.Background(), bytes.NewReader(before), to, storage.Options{}); err != nil || r.NoKey == "" {
			t.Fatalf("got %+v, %v", r, err)
		}
		put(t, filepath.Join(to, "key"), secondKey, 0o600)
		if _, err := storage.Open(to, storage.Options{}); !errors.Is(err, keys.ErrWrong) {
			t.Errorf("got %v, want %v", err, keys.ErrWrong)
		}
		put(t, filepath.Join(to, oldName), firstKey, 0o600)
		wantLive(t, open(t, to), old)
	})
}

// A backup has the keys of all its tokens, also of those that are made with another key
// when it has just begun.
func TestBackupWhileRotating(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	_, old := create(t, s, alice)
	source, young, b := s.Source(), "", new(bytes.Buffer)
	view := source.View
	source.View = func(fn func(*index.View) error) error {
		rotate(t, s, 0)
		_, young = create(t, s, alice)
		return view(fn)
	}
	must.Get(source.WriteBackup(t.Context(), b))(t)
	to := t.TempDir()
	put(t, filepath.Join(to, "key"), must.Get(os.ReadFile(s.Opening().KeyFile))(t), 0o600)
	must.Get(storage.Restore(t.Context(), b, to, storage.Options{}))(t)
	restored := open(t, to)
	wantLive(t, restored, old)
	wantLive(t, restored, young)
}

// Nothing that is printed or logged about a key contains it.
func TestKeysAreNotShown(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	done := rotate(t, s, 0)
	files, list, err := s.Keys()
	if err != nil || len(files) != 2 || !files[0].Opens || files[1].Opens || files[0].ID != done.ID {
		t.Fatalf("got %+v, %v", files, err)
	}
	shown := fmt.Sprintf("%+v %+v %+v", files, list, done)
	for _, f := range files {
		text := strings.TrimSpace(string(must.Get(os.ReadFile(f.Name))(t)))
		b := must.Get(hex.DecodeString(text))(t)
		for n := 0; n+8 <= len(text); n += 2 {
			if strings.Contains(shown, text[n:n+8]) {
				t.Errorf("part of the key in %s is shown", f.Name)
			}
		}
		if strings.Contains(shown, fmt.Sprint(b[:4])) {
			t.Errorf("part of the key in %s is shown", f.Name)
		}
	}
}
