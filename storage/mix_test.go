package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// answers are what a store says at one moment. Two stores with the same journal
// must have equal answers.
type answers struct {
	live   map[string]bool              // by secret
	tokens map[storage.ID]known         // as verification sees them
	listed map[storage.ID]tokenListed   // as listings show them
	users  map[string]storage.UserState // by uid
	found  map[string][]storage.ID      // by what is asked of the facts
	events []string
	uses   map[storage.ID]int64
	used   map[storage.ID]int64
}

type tokenListed struct {
	revoked    bool
	generation byte
	owner      storage.UserState
}

// answersOf asks a store everything about these secrets and all users.
func answersOf(t *testing.T, s *storage.Store, secrets []string) (m answers) {
	t.Helper()
	m = answers{live: map[string]bool{}, listed: map[storage.ID]tokenListed{}, users: map[string]storage.UserState{}, uses: map[storage.ID]int64{}, used: map[storage.ID]int64{}}
	must.Do(t, s.Opened(t.Context()))
	<-s.Counted()
	<-s.Loaded()
	for _, secret := range secrets {
		_, err := s.Inspect(secret, home.Address)
		if err != nil && !errors.Is(err, storage.ErrRefused) {
			t.Fatal(err)
		}
		m.live[secret] = err == nil
	}
	m.tokens = tableOf(s)
	for n := range uint32(s.Table().Owners.Len()) {
		o := s.Table().Owners.At(n)
		m.users[o.UID] = o.State
		list := must.Get(allTokensOf(s, o.ID))(t)
		for _, v := range list {
			m.listed[v.ID] = tokenListed{v.Revoked != 0, v.Generation, v.OwnerState}
			m.uses[v.ID], m.used[v.ID] = v.Usage.Uses, v.LastUsed
		}
	}
	m.found = map[string][]storage.ID{}
	for _, name := range []string{"created", "maker", "renamed"} {
		m.found[name] = must.Get(s.MatchTokens(storage.TokenFilter{Order: storage.ByCreated, Revoked: true, Match: mixMatches[name]}))(t)
	}
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		if e.Action == storage.ActionTokenStale {
			continue // caused by asking
		}
		m.events = append(m.events, fmt.Sprint(e.Sequence, " ", e.Action, " ", e.UID, e.Token))
	}
	must.Do(t, s.Audit().VerifyChain(t.Context()))
	return m
}

// mixMatches ask for facts that are the same wherever the uses come from.
var mixMatches = map[string]*storage.Match{
	"created": matches["created"], "maker": matches["maker"],
	"renamed": {Name: func(name string) bool { return strings.HasPrefix(name, "nnn") }},
}

// differs describes the difference between two answers, apart from the uses.
func (m answers) differs(want answers) string {
	switch {
	case !maps.Equal(m.live, want.live):
		return fmt.Sprintf("verification: got %v, want %v", m.live, want.live)
	case !maps.Equal(m.tokens, want.tokens):
		return fmt.Sprintf("the table: got %v, want %v", m.tokens, want.tokens)
	case !maps.Equal(m.listed, want.listed):
		return fmt.Sprintf("listings: got %v, want %v", m.listed, want.listed)
	case !maps.EqualFunc(m.found, want.found, slices.Equal):
		return fmt.Sprintf("searches: got %v, want %v", m.found, want.found)
	case !maps.Equal(m.users, want.users):
		return fmt.Sprintf("users: got %v, want %v", m.users, want.users)
	case !slices.Equal(m.events, want.events):
		n := 0
		for n < min(len(m.events), len(want.events)) && m.events[n] == want.events[n] {
			n++
		}
		return fmt.Sprintf("%d events, want %d; from event %d on: got %q, want %q", len(m.events), len(want.events), n, m.events[n:], want.events[n:])
	}
	return ""
}

// generation is a store at one moment, as a kill leaves it and as a stop leaves
// it.
type generation struct {
	name            string
	killed, stopped string
	answers
}

func (g *generation) dir(how string) string {
	if how == "killed" {
		return g.killed
	}
	return g.stopped
}

// take copies the store as a kill would leave it, stops it, and records the
// other fields.
func (g *generation) take(t *testing.T, s *storage.Store, secrets []string) {
	t.Helper()
	must.Do(t, s.Uses().SaveAll())
	g.killed = copyDir(t, s.Dir())
	g.answers = answersOf(t, s, secrets)
	stopped(t, s)
	g.stopped = copyDir(t, s.Dir())
	must.Get(os.Stat(filepath.Join(g.stopped, "store", "facts")))(t)
}

// twoGenerations returns a store at two moments, and a backup of the first.
// Between them there is one end of each kind, and one new token.
func twoGenerations(t *testing.T, opts storage.Options, clock *storagetest.Clock, prune bool) (older, newer *generation, secrets []string, backup []byte) {
	t.Helper()
	older, newer = &generation{name: "older"}, &generation{name: "newer"}
	s := openWith(t, filepath.Join(t.TempDir(), "data"), opts)
	alice, bob, carol := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com"), addUser(t, s, "carol@example.com")
	var ids []storage.ID
	for _, u := range []storage.User{alice, alice, alice, alice, bob, carol} {
		id, secret := create(t, s, u)
		wantLive(t, s, secret)
		ids, secrets = append(ids, id), append(secrets, secret)
	}
	must.Get(s.RevokeTokens(admin, ids[3]))(t)
	must.Do(t, s.Checkpoint(t.Context()))
	backup = backupOf(t, s)
	// The older generation refuses secrets that are created later: it can't know
	// them.
	turned := secrets[1]
	older.take(t, s, secrets)

	clock.Move(time.Hour)
	s = openWith(t, s.Dir(), opts)
	_, secret := must.Get2(s.RotateToken(admin, ids[1], 0, storage.ByUser))(t)
	late, made := create(t, s, alice)
	wantLive(t, s, secret.Reveal())
	wantLive(t, s, made)
	_, err := s.RevokeTokens(admin, ids[2])
	if err = errors.Join(err, s.DisableUser(admin, bob.UID), s.RemoveUser(admin, carol.UID)); err != nil {
		t.Fatal(err)
	}
	for range 30 { // so that there are segments to prune
		must.Do(t, s.RenameToken(admin, late, strings.Repeat("n", 60)))
	}
	must.Do(t, s.Checkpoint(t.Context()))
	if prune {
		must.Get(s.Journal().Prune(time.UnixMilli(math.MaxInt64), 0, s.CheckpointFile().Last().Sequence))(t)
		if s.Journal().FirstSequence() < s.CheckpointFile().Last().Sequence/2 {
			t.Fatal("too little was pruned for this test")
		}
	}
	must.Get(s.RevokeTokens(admin, late))(t)
	wantLive(t, s, secret.Reveal())
	secrets = append(secrets, secret.Reveal(), made)
	newer.take(t, s, secrets)
	for _, v := range []string{secret.Reveal(), made} {
		older.live[v] = false
	}
	if newer.live[turned] || !older.live[turned] {
		t.Fatal("this test tests nothing")
	}
	return older, newer, secrets, backup
}

// storeParts are the files and directories of a store that contain a position or
// a mark. The others are the same in all generations.
var storeParts = []string{"journal", "index", "table", "checkpoint", "uses"}

// mix makes a store from the parts of two. Part n comes from the second if bit n
// is set in which. So that there are no more mixes, the file of facts comes from the second
// if an odd number of them do.
func mix(t *testing.T, a, b string, which int) (dir, what string) {
	t.Helper()
	dir = copyDir(t, a)
	what = "only the older"
	var from []string
	for n, part := range append(slices.Clone(storeParts), "facts") {
		if n < len(storeParts) && which>>n&1 == 0 || n == len(storeParts) && bits.OnesCount(uint(which))%2 == 0 {
			continue
		}
		from = append(from, part)
		to, source := filepath.Join(dir, "store", part), filepath.Join(b, "store", part)
		must.Do(t, os.RemoveAll(to))
		if _, err := os.Stat(source); errors.Is(err, os.ErrNotExist) {
			continue
		}
		must.Do(t, storagetest.CopyStore(source, to))
	}
	if len(from) > 0 {
		what = strings.Join(from, ", ")
	}
	return dir, what
}

// wantRight opens a mixed store several times. It must be refused with an error
// that says what to do, or match its journal each time. wantRight reports if it was
// refused.
func wantRight(t *testing.T, dir string, opts storage.Options, want answers, secrets []string) (refused bool) {
	t.Helper()
	for n := range 2 {
		s, err := storage.Open(dir, opts)
		if err == nil {
			err = s.Opened(t.Context())
			if err != nil {
				s.Close() // with the same error
			}
		}
		if err != nil {
			if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "restore") {
				t.Errorf("refused, but without advice: %v", err)
			}
			if n > 0 {
				t.Errorf("refused at the second start: %v", err)
			}
			return true
		}
		got := answersOf(t, s, secrets)
		if err := s.Index().Compare(); err != nil {
			t.Error(err)
		}
		if d := got.differs(want); d != "" {
			t.Errorf("start %d: %s", n+1, d)
		}
		for id, uses := range got.uses {
			if uses > want.uses[id] || got.used[id] > want.used[id] {
				t.Errorf("start %d: token %s: got %d uses until %d, want at most %d until %d", n+1, id, uses, got.used[id], want.uses[id], want.used[id])
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return false
}

// A store that is combined from the files of two moments matches its journal, or
// is refused: neither one file nor two that agree override the log.
func TestGenerationsEachWay(t *testing.T) {
	eachWay(t)
	for _, prune := range []bool{false, true} {
		t.Run(fmt.Sprintf("pruned %t", prune), func(t *testing.T) {
			clock := newClock()
			opts := timed(t, clock)
			opts.Segment = 8 << 10
			older, newer, secrets, _ := twoGenerations(t, opts, clock, prune)
			clock.Move(time.Hour)
			hows := []string{"stopped"}
			if !prune {
				hows = append(hows, "killed")
			}
			for _, a := range hows {
				for _, b := range hows {
					mixAll(t, opts, older, newer, a, b, secrets)
				}
			}
		})
	}
}

// The same holds for the two stores after a restore: they share their history up
// to the backup, and then each has its own.
func TestLineagesEachWay(t *testing.T) {
	eachWay(t)
	clock := newClock()
	opts := timed(t, clock)
	_, before, secrets, backup := twoGenerations(t, opts, clock, false)
	before.name = "the store before the restore"
	dir := copyDir(t, before.stopped)
	restoreTo(t, backup, dir, opts)
	after := &generation{name: "the restored store"}
	s := openWith(t, dir, opts)
	u := must.Get(s.User("alice@example.com"))(t)
	_, secret := create(t, s, u)
	wantLive(t, s, secret)
	secrets = append(secrets, secret)
	after.take(t, s, secrets)
	before.live[secret] = false
	mixAll(t, opts, before, after, "stopped", "stopped", secrets)
	mixAll(t, opts, after, before, "stopped", "killed", secrets)
}

// eachWay skips a test that opens a store in hundreds of ways, one after the other, if it
// would take long, and under the race detector, which makes it take five times as long:
// .ci/run runs these tests by their names, without it.
func eachWay(t *testing.T) {
	t.Helper()
	storagetest.Slow(t)
	if raceEnabled {
		t.Skip("takes long: not with -race")
	}
	if !strings.HasSuffix(t.Name(), "EachWay") {
		t.Fatal("the name must end in EachWay")
	}
}

// tries reports whether such a test tries the nth of its ways. All of them take minutes, so
// only .ci/run tries all, and otherwise it is a fifth.
func tries(n int) bool { return n%5 == 0 || os.Getenv("CI") == "true" && !raceEnabled }

// mixAll tries the mixes of two generations, opened at once or early.
func mixAll(t *testing.T, opts storage.Options, one, other *generation, a, b string, secrets []string) {
	right, refused := 0, 0
	for which := range 1 << len(storeParts) {
		if !tries(which) {
			continue
		}
		dir, what := mix(t, one.dir(a), other.dir(b), which)
		want := one.answers
		if which&1 != 0 {
			want = other.answers
		}
		// Uses are not in the journal: those of either store may be there or not.
		want.uses, want.used = most(one.uses, other.uses), most(one.used, other.used)
		opts.Early = which%2 == 0 == (a == b)
		t.Run(fmt.Sprintf("%s %s in %s %s, early %t: %s", b, other.name, a, one.name, opts.Early, what), func(t *testing.T) {
			if wantRight(t, dir, opts, want, secrets) {
				refused++
			} else {
				right++
			}
		})
	}
	t.Logf("%s %s in %s %s: %d right, %d refused", b, other.name, a, one.name, right, refused)
	if 4*right < right+refused {
		t.Errorf("only %d of %d mixes were opened", right, right+refused)
	}
}

func most(a, b map[storage.ID]int64) map[storage.ID]int64 {
	all := maps.Clone(a)
	for id, n := range b {
		all[id] = max(all[id], n)
	}
	return all
}

// The mark of a restore that was not opened yet is put into a store that has gone
// on since. It must not make a missing journal begin again, and must not keep an
// old index.
func TestRestoredMark(t *testing.T) {
	storagetest.Slow(t)
	clock := newClock()
	opts := timed(t, clock)
	older, newer, secrets, _ := twoGenerations(t, opts, clock, false)
	for _, dir := range []string{newer.stopped, newer.killed} {
		for name, take := range map[string][]string{
			"all there":                     nil,
			"older checkpoint":              {"checkpoint"},
			"older index":                   {"index"},
			"older table":                   {"table"},
			"no journal":                    {"-journal"},
			"no journal, older checkpoint":  {"-journal", "checkpoint"},
			"no journal, no index":          {"-journal", "-index"},
			"no journal, no index or table": {"-journal", "-index", "-table"},
		} {
			t.Run(name, func(t *testing.T) {
				at := copyDir(t, dir)
				for _, part := range take {
					gone, missing := strings.CutPrefix(part, "-")
					to := filepath.Join(at, "store", gone)
					err := os.RemoveAll(to)
					if from := filepath.Join(older.stopped, "store", part); err == nil && !missing {
						err = storagetest.CopyStore(from, to)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				must.Do(t, os.WriteFile(filepath.Join(at, "store", "restored"), []byte("5"), 0o600))
				if refused := wantRight(t, at, opts, newer.answers, secrets); !refused && slices.Contains(take, "-journal") {
					t.Error("a store without a journal was opened")
				}
			})
		}
	}
}
