package order_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/order"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

var (
	seals  = keys.Ring{}.Seals()
	moment = sealed.Moment{Position: journal.Position{Sequence: 3, Hash: [32]byte{4}}, Uses: 5}
)

// stop writes what the views know to a file, as a stop does.
func (h *house) stop() (file string) {
	h.t.Helper()
	file = filepath.Join(h.t.TempDir(), "facts")
	for shard := range table.Shards {
		h.table.Save(shard, ignore{}, h.views.NoteUses)
	}
	err := h.views.Settle(nil)
	if err == nil {
		err = h.views.WriteFile(file, seals, moment, never)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return file
}

func never() error { return nil }

// start makes views that begin with a file. Unless same is set, the table is a new one, in
// which users and tokens have other numbers.
func (h *house) start(file string, same bool) {
	h.t.Helper()
	if !same {
		h.table = table.New()
		list := slices.Collect(maps.Values(h.users))
		h.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, u := range list {
			h.table.Owners.Set(new(u.record()).Owner())
		}
		for _, t := range h.tokens {
			_, n, _ := h.table.Owners.Find(t.owner.id)
			h.table.Put(table.Entry{ID: t.id, Owner: n, Used: t.used, Flags: new(t.record()).Flags()})
		}
		h.table.Whole()
	}
	h.restart()
	f, err := order.OpenFile(file, seals)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { f.Close() })
	h.views.Resume(f, func() bool { return true }, func() int64 { return math.MaxInt64 })
}

// TestFile: views that begin with the file of a stop give the answers of those that read the
// index, and do not read it; also when tokens and users change before the first query, and
// when one file follows another.
func TestFile(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := newHouse(t, 20+seed)
			h.ask("before the first stop")
			for n := range 8 {
				for range h.rand.IntN(150) {
					h.step()
				}
				file := h.stop()
				h.start(file, n%2 == 0)
				clear(h.reads)
				for range h.rand.IntN(3) * 20 {
					h.step()
				}
				for step := range 40 {
					h.checkTokens(step)
					h.checkUsers(step)
				}
				if read := h.reads["TokensIn"] + h.reads["SeenIn"] + h.reads["UsersIn"]; read > 0 {
					t.Errorf("the index was read: %v", h.reads)
				}
			}
		})
	}
}

// TestFileUnasked: a stop can save what nobody has asked for since the start.
func TestFileUnasked(t *testing.T) {
	h := newHouse(t, 30)
	h.ask("at first")
	for range 3 {
		file := h.stop()
		h.start(file, true)
		for range 20 {
			h.step()
		}
	}
	for n := range 50 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
	if h.reads["TokensIn"] != 256 {
		t.Errorf("the index was read again: %v", h.reads)
	}
}

// TestFileClosed: when the store closes while the file is loaded, the stop loads it again, and
// saves it with what has changed in the meantime.
func TestFileClosed(t *testing.T) {
	h := newHouse(t, 36)
	h.ask("at first")
	h.start(h.stop(), true)
	for range 50 {
		h.step()
	}
	close(h.closing)
	for _, m := range []*order.Match{matches["name"], matches["owner"]} {
		if _, err := h.views.Count(order.TokenFilter{Match: m}); !errors.Is(err, disk.ErrClosed) {
			t.Errorf("got %v, want %v", err, disk.ErrClosed)
		}
	}
	for range 50 {
		h.step()
	}
	h.start(h.stop(), true)
	for n := range 50 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
	if h.reads["TokensIn"] != 256 {
		t.Errorf("the index was read again: %v", h.reads)
	}
}

// TestFileDamaged: from a file with a flipped bit anywhere, one that is cut short or not the
// program's, no answer is taken.
func TestFileDamaged(t *testing.T) {
	h := newHouse(t, 31)
	for range 300 {
		h.step()
	}
	h.ask("at first")
	file := h.stop()
	whole := must.Get(os.ReadFile(file))(t)
	r := rand.New(rand.NewPCG(1, 2))
	try := func(what string, b []byte) {
		t.Helper()
		must.Do(t, os.WriteFile(file, b, 0o600))
		f, err := order.OpenFile(file, seals)
		if err != nil {
			return
		}
		f.Close()
		h.start(file, true)
		clear(h.reads)
		for n := range 5 {
			h.checkTokens(n)
			h.checkUsers(n)
		}
		h.ask(what)
		if read := h.reads["TokensIn"] + h.reads["UsersIn"]; read == 0 {
			t.Errorf("%s: the file was taken", what)
		}
	}
	const head = 7000 // bytes, about
	for n := range 30 {
		b := slices.Clone(whole)
		at := r.IntN(len(b))
		if n%3 == 0 {
			at = r.IntN(head)
		}
		b[at] ^= 1 << r.IntN(8)
		try(fmt.Sprintf("bit flipped in byte %d of %d", at, len(b)), b)
	}
	for range 8 {
		at := r.IntN(len(whole))
		try(fmt.Sprintf("cut off after %d bytes", at), whole[:at])
	}
	try("empty", nil)
	garbage := slices.Clone(whole)
	for i := range garbage {
		garbage[i] = byte(r.Uint32())
	}
	try("garbage", garbage)
	try("garbage after its head", append(slices.Clone(whole[:head]), garbage[head:]...))
}

// TestFileUnsure: a file of a store that may have changed is not used, and a reading that
// fails does not lose changes.
func TestFileUnsure(t *testing.T) {
	h := newHouse(t, 32)
	h.ask("at first")
	h.start(h.stop(), true)
	f := must.Get(order.OpenFile(h.stop(), seals))(t)
	defer f.Close()
	h.restart()
	h.views.Resume(f, func() bool { return false }, func() int64 { return math.MaxInt64 })
	for range 50 {
		h.step()
	}
	clear(h.reads)
	h.fault = errors.New("the disk is broken")
	if _, err := h.views.Count(order.TokenFilter{Match: matches["name"]}); !errors.Is(err, h.fault) {
		t.Errorf("got %v, want the fault", err)
	}
	h.fault = nil
	for range 50 {
		h.step()
	}
	for n := range 50 {
		h.checkTokens(n)
		h.checkUsers(n)
	}
	if h.reads["TokensIn"] < 256 || h.reads["UsersIn"] != 256 {
		t.Errorf("the file was used: %v", h.reads)
	}
}

// TestUsersUnreadable: if the users can be read neither from the file nor from the index,
// changes are not collected forever, and the index is not read again and again.
func TestUsersUnreadable(t *testing.T) {
	h := newHouse(t, 37)
	h.ask("at first")
	f := must.Get(order.OpenFile(h.stop(), seals))(t)
	defer f.Close()
	h.restart()
	clear(h.reads)
	h.noUsers = errors.New("the record is damaged")
	h.views.Resume(f, func() bool { return false }, func() int64 { return math.MaxInt64 })
	h.run()
	collects := func() (yes bool) {
		h.views.NoteUser(0, record.User{})
		h.views.NoteUses(func() []table.Sight { yes = true; return nil })
		return yes
	}
	id := anyOf(h.rand, h.tokens).id
	for end := time.Now().Add(time.Minute); ; {
		for range 2048 {
			h.views.NoteToken(id)
		}
		h.mu.Lock()
		read, all := h.reads["UsersIn"], h.reads["TokensIn"]
		h.mu.Unlock()
		if all == 256 && read > 0 {
			break // the tokens are read all the same
		}
		if time.Now().After(end) {
			t.Fatalf("%d parts of the tokens were read", all)
		}
		time.Sleep(time.Millisecond)
	}
	h.mu.Lock()
	before := h.reads["UsersIn"]
	h.mu.Unlock()
	for range 50 {
		h.views.NoteUser(0, record.User{})
	}
	if !collects() {
		t.Error("changes of the tokens, which are known, are not noted")
	}
	if _, err := h.views.People(); !errors.Is(err, h.noUsers) {
		t.Errorf("got %v, want the fault", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reads["UsersIn"] > before+256 {
		t.Errorf("the users were read %d times", h.reads["UsersIn"]-before)
	}
}

// TestFileOfOtherKeys: what is dead depends on the keys, so a file of others is not used.
func TestFileOfOtherKeys(t *testing.T) {
	h := newHouse(t, 33)
	h.ask("at first")
	file := h.stop()
	h.start(file, true)
	f := must.Get(order.OpenFile(file, seals))(t)
	defer f.Close()
	h.views = order.New(h.table, h, func(key byte) bool { return key <= 2 }, func(byte) int64 { return 0 }, h.closing)
	h.views.Resume(f, func() bool { return true }, func() int64 { return math.MaxInt64 })
	clear(h.reads)
	h.ask("with other keys")
	if h.reads["TokensIn"] != 256 || h.reads["UsersIn"] != 256 {
		t.Errorf("the file was used: %v", h.reads)
	}
}

// TestFileAhead: the last use of a dead token that a clock ahead of time has written is read
// again, as at each start.
func TestFileAhead(t *testing.T) {
	h := newHouse(t, 34)
	for range 10 {
		h.revoke(anyOf(h.rand, h.tokens))
	}
	used := func(ms int64) {
		for _, d := range h.dead {
			d.used = record.UsedAt(ms)
		}
	}
	used(h.now + 10_000)
	h.ask("at first")
	file := h.stop()
	h.now += 1000
	used(h.now)
	h.restart()
	f := must.Get(order.OpenFile(file, seals))(t)
	defer f.Close()
	h.views.Resume(f, func() bool { return true }, func() int64 { return h.now })
	all := order.TokenFilter{Revoked: true, Match: matches["none"]}
	if n, err := h.views.Count(order.TokenFilter{Revoked: true, UsedSince: h.now + 1}); n != 0 || err != nil {
		t.Errorf("%d tokens were used in the future, %v", n, err)
	}
	if n, err := h.views.Count(all); n != len(h.tokens)+len(h.dead) || err != nil {
		t.Errorf("%d tokens, %v", n, err)
	}
}

// TestFileOfLess: no file is written while something is not known, or has changed since it was
// settled, or when there is no time.
func TestFileOfLess(t *testing.T) {
	h := newHouse(t, 35)
	file := filepath.Join(t.TempDir(), "facts")
	write := func(what string) {
		t.Helper()
		if err := h.views.WriteFile(file, seals, moment, never); err == nil {
			t.Errorf("%s: a file was written", what)
		}
	}
	if err := h.views.Settle(nil); err == nil {
		t.Error("settled, and nothing is known")
	}
	write("nothing is known")
	must.Get(h.views.Users(order.UserFilter{}))(t)
	write("only the people are known")
	if err := h.views.Settle(nil); err == nil {
		t.Error("settled, and only the people are known")
	}
	h.restart()
	must.Get(h.views.Count(order.TokenFilter{Match: matches["name"]}))(t)
	write("only the facts are known")
	h.stop() // it reads the people
	h.addToken()
	write("a new token")
	h.stop()
	h.addUser()
	write("a new user")
	must.Do(t, h.views.Settle(nil))
	late := errors.New("no more time")
	if err := h.views.WriteFile(file, seals, moment, func() error { return late }); !errors.Is(err, late) {
		t.Errorf("got %v, want %v", err, late)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) > 0 || err != nil {
		t.Errorf("these are left: %q, %v", left, err)
	}
	h.revoke(anyOf(h.rand, h.tokens))
	closed := make(chan struct{})
	close(closed)
	if err := h.views.Settle(closed); err == nil {
		t.Error("settled in no time, and a token was revoked")
	}
	write("a revoked token")
}
