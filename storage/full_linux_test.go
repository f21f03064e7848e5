package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const fullDisk = 256 << 20

// tmpfs mounts a small file system for one test.
func tmpfs(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// filler takes the space of a disk, to the last byte.
type filler struct {
	file *os.File
	size int64
}

func newFiller(t *testing.T, dir string) *filler {
	t.Helper()
	f := must.Get(os.Create(filepath.Join(dir, "filler")))(t)
	t.Cleanup(func() { f.Close() })
	return &filler{file: f}
}

// fill takes space in steps, with pauses, until no byte is left.
func (f *filler) fill(step int, pause time.Duration) {
	b := make([]byte, step)
	for n := step; n > 0; {
		took, err := f.file.WriteAt(b[:n], f.size)
		f.size += int64(took)
		if err != nil {
			n /= 2
		}
		if pause > 0 {
			time.Sleep(pause)
		}
	}
}

// leave takes space in steps until at most so many bytes are left.
func (f *filler) leave(t *testing.T, left uint64, step int, pause time.Duration) {
	t.Helper()
	b := make([]byte, step)
	for free := ^uint64(0); free > left; time.Sleep(pause) {
		took, err := f.file.WriteAt(b, f.size)
		f.size += int64(took)
		if err != nil {
			t.Fatal(err)
		}
		if free, err = disk.Free(filepath.Dir(f.file.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// race goes on filling until the function that it returns is called.
func (f *filler) race() (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Microsecond):
				f.fill(64<<10, 0)
			}
		}
	})
	return sync.OnceFunc(func() { close(stop); wg.Wait() })
}

// grab takes all free space with as few calls as possible.
func (f *filler) grab(dir string) {
	for free, _ := disk.Free(dir); free > 0; free /= 2 {
		if unix.Fallocate(int(f.file.Fd()), 0, f.size, int64(free)) == nil {
			f.size += int64(free)
		}
	}
	f.fill(4096, 0)
}

func (f *filler) free(t *testing.T) {
	t.Helper()
	f.size = 0
	must.Do(t, f.file.Truncate(0))
}

// crowd uses a store in another process from many goroutines at once, and knows
// what was acknowledged.
type crowd struct {
	*child
	owner storage.UserID

	mu      sync.Mutex
	live    []Made
	doubt   map[storage.ID]Made // a revocation was requested and not answered
	revoked []Made

	used, denied, created, ended atomic.Int64
	wrong                        atomic.Pointer[string]
}

func (c *crowd) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.wrong.CompareAndSwap(nil, &text)
}

func (c *crowd) check(t *testing.T) {
	t.Helper()
	if text := c.wrong.Load(); text != nil {
		if strings.Contains(*text, errGone.Error()) {
			c.dead(errors.New(*text))
		}
		t.Fatal(*text)
	}
}

func (c *crowd) create(limited bool) error {
	var m Made
	err := c.call("Create", Ask{Owner: c.owner, Name: "one of a crowd", Limited: limited}, &m)
	if err == nil {
		c.mu.Lock()
		c.live = append(c.live, m)
		c.mu.Unlock()
		c.created.Add(1)
	}
	return err
}

// pick returns a live token. If take is set, nobody else gets that token.
func (c *crowd) pick(n int, take bool) (m Made, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) == 0 {
		return m, false
	}
	n %= len(c.live)
	m = c.live[n]
	if take {
		c.live = slices.Delete(c.live, n, n+1)
		c.doubt[m.ID] = m
	}
	return m, true
}

func (c *crowd) use(n int) {
	m, ok := c.pick(n, false)
	if !ok {
		return
	}
	var live bool
	if err := c.call("Use", m.Secret, &live); err != nil {
		c.fault("use: %v", err)
		return
	}
	c.mu.Lock()
	still := slices.ContainsFunc(c.live, func(o Made) bool { return o.ID == m.ID })
	c.mu.Unlock()
	if !live && still {
		c.fault("token %v is dead, and nobody revoked it", m.ID)
	}
	c.used.Add(1)
}

func (c *crowd) revoke(n int) {
	m, ok := c.pick(n, true)
	if !ok {
		return
	}
	var revoked int
	if err := c.call("Revoke", m.ID, &revoked); err != nil || revoked != 1 {
		c.fault("revoke: %d, %v", revoked, err)
		return
	}
	var live bool
	if err := c.call("Use", m.Secret, &live); err != nil || live {
		c.fault("use after the revocation: %v, %v", live, err)
		return
	}
	c.mu.Lock()
	delete(c.doubt, m.ID)
	c.revoked = append(c.revoked, m)
	c.mu.Unlock()
	c.ended.Add(1)
}

// run lets the crowd loose until stop closes.
func (c *crowd) run(wg *sync.WaitGroup, stop chan struct{}) {
	each := func(pause time.Duration, fn func(n int)) {
		wg.Go(func() {
			for n := 0; c.wrong.Load() == nil; n++ {
				select {
				case <-stop:
					return
				case <-time.After(pause):
					fn(n * 7919)
				}
			}
		})
	}
	for range 4 {
		each(time.Microsecond, c.use)
	}
	each(4*time.Millisecond, c.revoke)
	for i := range 2 {
		each(200*time.Microsecond, func(int) {
			if err := c.create(i == 0); err != nil {
				if c.denied.Add(1); !strings.Contains(err.Error(), storage.ErrNoSpace.Error()) {
					c.fault("create: %v", err)
				}
			}
		})
	}
	each(5*time.Millisecond, func(int) { c.compare() })
}

// compare checks that no revoked token is in a listing.
func (c *crowd) compare() {
	c.mu.Lock()
	dead := map[storage.ID]bool{}
	for _, m := range c.revoked {
		dead[m.ID] = true
	}
	c.mu.Unlock()
	var list []Listed
	if err := c.call("List", c.owner, &list); err != nil {
		c.fault("list: %v", err)
	}
	for _, l := range list {
		if dead[l.ID] {
			c.fault("token %v is listed after its revocation", l.ID)
		}
	}
}

// audit compares a store without load with what was acknowledged.
func (c *crowd) audit(t *testing.T) {
	t.Helper()
	c.check(t)
	var list []Listed
	must.Do(t, c.call("List", c.owner, &list))
	for want, known := range map[bool][]Made{true: c.live, false: c.revoked} {
		for _, m := range known {
			var live bool
			if err := c.call("Use", m.Secret, &live); err != nil || live != want {
				t.Errorf("token %v: live is %v, %v, want %v", m.ID, live, err, want)
			}
			if got := slices.ContainsFunc(list, func(l Listed) bool { return l.ID == m.ID }); got != want {
				t.Errorf("token %v: listed is %v, want %v", m.ID, got, want)
			}
		}
	}
}

// more waits until a counter has moved on by n.
func (c *crowd) more(t *testing.T, what string, counter *atomic.Int64, n int64) {
	t.Helper()
	from := counter.Load()
	for deadline := time.Now().Add(patience); counter.Load() < from+n; time.Sleep(time.Millisecond) {
		if c.check(t); time.Now().After(deadline) {
			t.Fatalf("%s: %d in %v, want %d", what, counter.Load()-from, patience, n)
		}
	}
}

// A full disk stops changes that add something, and nothing else: not the
// process, not verification, not revocation. Revoked tokens stay revoked after
// a kill, and when there is space again everything works.
func TestFullDisk(t *testing.T) {
	storagetest.Slow(t)
	fast := func(f *filler, _ string) { f.fill(1<<20, 0) }
	for _, c := range []struct {
		name string
		fill func(f *filler, dir string)
		stop bool // stop the process instead of killing it
		race bool // the filler keeps taking space that becomes free
	}{
		{name: "at once", fill: func(f *filler, dir string) { f.grab(dir) }},
		{name: "slowly", fill: func(f *filler, _ string) { f.fill(1<<20, 8*time.Millisecond) }},
		{name: "stopped while full", fill: fast, stop: true},
		{name: "taking what comes free", fill: fast, race: true},
	} {
		t.Run(c.name, func(t *testing.T) { testFullDisk(t, c.fill, c.stop, c.race) })
	}
}

func testFullDisk(t *testing.T, fill func(f *filler, dir string), stopped, race bool) {
	disk := tmpfs(t, fullDisk)
	dir := filepath.Join(disk, "data")
	f := newFiller(t, disk)
	c := &crowd{child: startChild(t, dir), doubt: map[storage.ID]Made{}}
	must.Do(t, c.call("AddUser", "alice@example.com", &c.owner))
	for i := range 300 {
		must.Do(t, c.create(i%2 == 0))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	c.run(&wg, stop)
	halt := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer halt()
	c.more(t, "creations", &c.created, 100)

	fill(f, disk)
	c.more(t, "refused creations", &c.denied, 5)
	endRace := func() {}
	if race {
		endRace = f.race()
		defer endRace()
	} else {
		f.fill(4096, 0) // space that the store may have freed
	}
	c.more(t, "refused creations", &c.denied, 5)
	c.more(t, "verifications", &c.used, 500)
	c.more(t, "revocations", &c.ended, 50)
	if err := c.call("Writable", None{}, new(None)); err == nil || !strings.Contains(err.Error(), storage.ErrNoSpace.Error()) {
		t.Errorf("writable: got %v, want ErrNoSpace", err)
	}
	halt()
	c.audit(t)
	endRace()
	if stopped {
		c.stop()
	} else {
		c.kill()
	}

	c.child = startChild(t, dir) // the disk is as full as before
	c.audit(t)
	for n := range 20 {
		c.revoke(n)
	}
	if err := c.create(false); err == nil || !strings.Contains(err.Error(), storage.ErrNoSpace.Error()) {
		t.Errorf("create on a full disk: got %v, want ErrNoSpace", err)
	}
	c.audit(t)

	f.free(t)
	must.Happen(t, "a creation", func() bool { return c.create(true) == nil })
	behind := true
	must.Happen(t, "an index that is not behind", func() bool { return c.call("Behind", None{}, &behind) == nil && !behind })
	c.revoke(0)
	c.audit(t)
	c.stop()
	wantCleanStop(t, dir)
	c.child = startChild(t, dir)
	c.audit(t)
	c.stop()
}

// A backup needs no room on the disk of the store: a full disk may be the reason for
// the backup.
func TestBackupOfAFullDisk(t *testing.T) {
	disk := tmpfs(t, fullDisk)
	dir := filepath.Join(disk, "data")
	s, err := storage.Open(dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	alice := addUser(t, s, "alice@example.com")
	dead, secret := create(t, s, alice)
	used, live := create(t, s, alice)
	<-s.Counted()
	full := newFiller(t, disk)
	full.grab(disk)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	wantLive(t, s, live)
	must.Get(s.RevokeTokens(admin, dead))(t)
	running := backupOf(t, s)
	if err := s.NoteBackup(); !errors.Is(err, storage.ErrNoSpace) {
		t.Errorf("the backup is noted: got %v, want ErrNoSpace", err)
	}
	if err := s.Close(); err != nil && !errors.Is(err, storage.ErrNoSpace) {
		t.Fatal(err)
	}
	// The stop has dropped the ballast, so an opening has the room that it
	// needs.
	if s, err = storage.Open(dir, storage.Options{}); err != nil {
		t.Fatal(err)
	}
	offline := backupOf(t, s)
	if err := s.Close(); err != nil && !errors.Is(err, storage.ErrNoSpace) {
		t.Fatal(err)
	}
	key := must.Get(os.ReadFile(filepath.Join(dir, "key")))(t)
	for what, backup := range map[string][]byte{"running": running, "offline": offline} {
		to := t.TempDir()
		put(t, filepath.Join(to, "key"), key, 0o600)
		restoreTo(t, backup, to, storage.Options{})
		s := open(t, to)
		wantDead(t, s, secret)
		if tok, err := s.Token(used); err != nil || tok.LastUsed <= tok.Created || what == "running" && tok.Usage.Uses != 1 {
			t.Errorf("%s: got %+v, %v, want it used once", what, tok, err)
		}
		wantLive(t, s, live)
	}
}

// After a kill Badger makes tables from its logs as it opens the index. If the disk
// has no room for them, the opening returns an error and the process does not die.
func TestOpenOnAFullDisk(t *testing.T) {
	storagetest.Slow(t)
	for _, c := range []struct {
		name  string
		taken bool // also fill the space that the logs reserve but do not use
	}{{"room in the logs", false}, {"none", true}} {
		t.Run(c.name, func(t *testing.T) {
			disk := tmpfs(t, fullDisk)
			s := openWith(t, t.TempDir(), storage.Options{Segment: 8 << 20}) // as a server's
			alice := addUser(t, s, "alice@example.com")
			var secrets []string
			for range 300 {
				_, secret := create(t, s, alice)
				secrets = append(secrets, secret)
			}
			dir := filepath.Join(disk, "data")
			must.Do(t, os.CopyFS(dir, os.DirFS(copyDir(t, s.Dir())))) // as a kill would leave it
			must.Do(t, os.Remove(filepath.Join(dir, "store", "ballast")))
			for _, name := range files(t, dir) {
				must.Do(t, os.Chmod(filepath.Join(dir, name), 0o600))
			}
			must.Do(t, os.Chmod(dir, 0o700))
			logs, err := index.MemoryLogs(filepath.Join(dir, "store", "index"))
			if err != nil || len(logs) == 0 {
				t.Fatalf("logs of Badger: %v, %v, want one", logs, err)
			}
			if c.taken { // now the logs have no reserved space
				must.Do(t, index.CheckFiles(filepath.Join(dir, "store", "index")))
			}
			full := newFiller(t, disk)
			full.grab(disk)
			opened, err := storage.Open(dir, storage.Options{})
			if c.taken != errors.Is(err, storage.ErrNoSpace) || !c.taken && err != nil {
				t.Fatalf("opened on a full disk: got %v", err)
			}
			if err == nil {
				wantLive(t, opened, secrets[0])
				if err := opened.Close(); err != nil && !errors.Is(err, storage.ErrNoSpace) {
					t.Error(err)
				}
			}
			full.free(t)
			opened = openWith(t, dir, storage.Options{Segment: 8 << 20})
			for _, secret := range secrets {
				wantLive(t, opened, secret)
			}
		})
	}
}
