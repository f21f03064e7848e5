package grants_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gatehouse/storage/disk"
	"gatehouse/storage/grants"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

var ada = record.Identity{Source: "corp", Subject: "ada-4711"}

func open(t *testing.T, dir string, ring keys.Ring) *grants.Grants {
	t.Helper()
	s := must.Get(grants.New(dir, ring))(t)
	return s
}

func newRing(t *testing.T) keys.Ring {
	t.Helper()
	dir := t.TempDir()
	ring := must.Get(keys.Load(filepath.Join(dir, "keyring"), filepath.Join(dir, "key"), keys.Make))(t)
	return ring
}

// fresh returns grants in a directory that does not exist yet, with a key of their own.
func fresh(t *testing.T) (*grants.Grants, string, keys.Ring) {
	t.Helper()
	ring, dir := newRing(t), filepath.Join(t.TempDir(), "grants")
	return open(t, dir, ring), dir, ring
}

// logIn stores a grant with a refresh token.
func logIn(t *testing.T, s *grants.Grants, id record.Identity, token string) grants.Grant {
	t.Helper()
	g := must.Get(s.Renew(id, func(g *grants.Grant, version uint64) {
		*g = grants.Grant{Identity: g.Identity, Client: "oidc https://corp.example gatehouse", Version: version, Refresh: token, Asked: 7}
	}))(t)
	return g
}

func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	all := must.Get(os.ReadDir(dir))(t)
	for _, e := range all {
		list = append(list, filepath.Join(dir, e.Name()))
	}
	return list
}

// TestRoundTrip: what is stored is found again by the next process, and by no other name.
func TestRoundTrip(t *testing.T) {
	s, dir, ring := fresh(t)
	if _, ok, err := s.Get(ada); ok || err != nil {
		t.Errorf("before: got %t, %v", ok, err)
	}
	want := logIn(t, s, ada, "refresh-1")
	for _, s := range []*grants.Grants{s, open(t, dir, ring)} {
		if got, ok, err := s.Get(ada); err != nil || !ok || got != want || !got.Usable() {
			t.Errorf("got %+v, %t, %v, want %+v", got, ok, err, want)
		}
		for _, other := range []record.Identity{{Source: "corp", Subject: "ada"}, {Source: "cor", Subject: "pada-4711"}, {Source: "other", Subject: ada.Subject}} {
			if got, ok, err := s.Get(other); ok || err != nil {
				t.Errorf("%v: got %v, %t, %v", other, got, ok, err)
			}
		}
	}
}

// TestSealed: the files show neither tokens nor people, and only their owner reads them. A
// grant printed by mistake shows no token.
func TestSealed(t *testing.T) {
	s, dir, _ := fresh(t)
	g := logIn(t, s, ada, "refresh-secret")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: got %v, %v", info.Mode(), err)
	}
	for _, file := range files(t, dir) {
		b, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 || bytes.Contains(b, []byte("refresh-secret")) || bytes.Contains(b, []byte("corp")) || strings.Contains(file, "4711") {
			t.Errorf("got %s, %v: %q, %v", file, info.Mode(), b, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", g, g, g, g); strings.Contains(text, "secret") {
		t.Errorf("got %s", text)
	}
}

// TestDamaged: what another key sealed, what is cut, flipped, or another person's, counts
// as missing, so that the next login replaces it. An error of the disk does not.
func TestDamaged(t *testing.T) {
	s, dir, _ := fresh(t)
	logIn(t, s, ada, "refresh-1")
	file := files(t, dir)[0]
	whole := must.Get(os.ReadFile(file))(t)
	bob := record.Identity{Source: "corp", Subject: "bob"}
	logIn(t, s, bob, "refresh-bob")
	var other []byte
	for _, f := range files(t, dir) {
		if f != file {
			other, _ = os.ReadFile(f)
		}
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{
		"empty": nil, "cut": whole[:len(whole)-1], "longer": append(bytes.Clone(whole), 0), "flipped": flipped, "a nonce alone": whole[:12], "bob's": other,
	} {
		must.Do(t, os.WriteFile(file, b, 0o600))
		if g, ok, err := s.Get(ada); ok || err != nil || g != (grants.Grant{}) {
			t.Errorf("%s: got %v, %t, %v", name, g, ok, err)
		}
	}
	if _, err := s.Update(ada, 1, func(*grants.Grant) {}); !errors.Is(err, grants.ErrNewer) {
		t.Errorf("got %v", err)
	}
	logIn(t, s, ada, "refresh-2")
	if g, ok, err := s.Get(ada); err != nil || !ok || g.Refresh != "refresh-2" {
		t.Errorf("after a login: got %v, %t, %v", g, ok, err)
	}

	another := open(t, dir, newRing(t)) // whose names are others, too
	if g, ok, err := another.Get(ada); ok || err != nil {
		t.Errorf("with another key: got %v, %t, %v", g, ok, err)
	}
	if n, err := another.Prune(func(grants.Grant) bool { return true }); err != nil || n != 2 {
		t.Errorf("with another key, %d are dropped, %v", n, err)
	}

	logIn(t, s, ada, "refresh-3")
	must.Do(t, errors.Join(os.Remove(file), os.Mkdir(file, 0o700)))
	if _, ok, err := s.Get(ada); ok || err == nil {
		t.Errorf("a file that can't be read: got %t, %v", ok, err)
	}
	if _, err := s.Renew(ada, func(*grants.Grant, uint64) {}); err == nil {
		t.Error("a file that can't be read is replaced")
	}
}

// TestVersions: an answer to a question from before a login changes nothing after it.
func TestVersions(t *testing.T) {
	s, _, _ := fresh(t)
	old := logIn(t, s, ada, "refresh-1")
	g, err := s.Update(ada, old.Version, func(g *grants.Grant) { g.Refresh, g.Sent = "refresh-2", true })
	if err != nil || g.Refresh != "refresh-2" || g.Version != old.Version {
		t.Errorf("got %+v, %v", g, err)
	}
	now := logIn(t, s, ada, "refresh-3")
	if now.Version == old.Version {
		t.Fatal("a login has the version of another")
	}
	_, err = s.Update(ada, old.Version, func(*grants.Grant) { t.Error("an old question changes a grant") })
	if !errors.Is(err, grants.ErrNewer) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Update(record.Identity{Source: "corp", Subject: "x"}, 0, func(*grants.Grant) { t.Error("of nobody") }); !errors.Is(err, grants.ErrNewer) {
		t.Errorf("got %v", err)
	}
	if got, _, _ := s.Get(ada); got != now {
		t.Errorf("got %+v, want %+v", got, now)
	}
}

// TestCrash: when Update returns, the new token is on the disk. If it fails, the old one
// is, and a process that is killed leaves one or the other whole, and nothing that counts
// as a grant.
func TestCrash(t *testing.T) {
	s, dir, ring := fresh(t)
	g := logIn(t, s, ada, "refresh-1")
	must.Get(s.Update(ada, g.Version, func(g *grants.Grant) { g.Refresh = "refresh-2" }))(t)
	if got, ok, err := open(t, dir, ring).Get(ada); err != nil || !ok || got.Refresh != "refresh-2" {
		t.Errorf("got %q, %t, %v", got.Refresh, ok, err)
	}

	// A disk that takes nothing: here a limit on the size of files.
	var limit syscall.Rlimit
	must.Do(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	must.Do(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8, Max: limit.Max}))
	_, err := s.Update(ada, g.Version, func(g *grants.Grant) { g.Refresh = "refresh-3" })
	must.Do(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	if err == nil {
		t.Error("a write that was refused is no error")
	}
	if got, ok, err := open(t, dir, ring).Get(ada); err != nil || !ok || got.Refresh != "refresh-2" {
		t.Errorf("after a failed write: got %q, %t, %v", got.Refresh, ok, err)
	}
	if list := files(t, dir); len(list) != 1 {
		t.Errorf("a failed write leaves %q", list)
	}

	// What a kill leaves of a write is deleted, and is nobody.
	left := filepath.Join(dir, "."+filepath.Base(files(t, dir)[0])+"-123")
	must.Do(t, os.WriteFile(left, []byte("half"), 0o600))
	if n, err := s.Prune(func(grants.Grant) bool { return true }); n != 0 || err != nil || disk.Exists(left) {
		t.Errorf("%d are dropped, %v, and what is left is there: %t", n, err, disk.Exists(left))
	}
	if n, err := s.Prune(func(grants.Grant) bool { return false }); n != 1 || err != nil || len(files(t, dir)) != 0 {
		t.Errorf("%d are dropped, %v", n, err)
	}
}

// TestTogether: logins and answers at the same time lose nothing: each person has the token
// that was stored last.
func TestTogether(t *testing.T) {
	s, dir, ring := fresh(t)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			id := record.Identity{Source: "corp", Subject: fmt.Sprint(n % 4)}
			for i := range 10 {
				g, err := s.Renew(id, func(g *grants.Grant, version uint64) {
					g.Version, g.Asked, g.Refresh = version, g.Asked+1, fmt.Sprint(n, i)
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := s.Update(id, g.Version, func(g *grants.Grant) { g.Asked++ }); err != nil && !errors.Is(err, grants.ErrNewer) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for n := range 4 {
		g, ok, err := open(t, dir, ring).Get(record.Identity{Source: "corp", Subject: fmt.Sprint(n)})
		if err != nil || !ok || g.Asked < 20 || g.Asked > 40 || !strings.HasSuffix(g.Refresh, " 9") {
			t.Errorf("%d: got %+v, %q, %t, %v", n, g.Asked, g.Refresh, ok, err)
		}
	}
}

// TestDoubted: who is in doubt is known without reading the grants, and is what they say.
func TestDoubted(t *testing.T) {
	s, dir, ring := fresh(t)
	people := make([]record.Identity, 12)
	for n := range people {
		people[n] = record.Identity{Source: "corp", Subject: fmt.Sprint("p", n)}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		id := people[r.IntN(len(people))]
		switch r.IntN(8) {
		case 0:
			must.Get(s.Prune(func(g grants.Grant) bool { return g.Identity != id }))(t)
		case 1:
			s = open(t, dir, ring)
		case 2:
			s.Fault = func(grants.Grant) error { return errors.New("the disk is full") }
			s.Renew(id, func(g *grants.Grant, _ uint64) { g.Doubt = "lost" })
			s.Fault = nil
		default:
			doubt := []string{"", "lost"}[r.IntN(2)]
			must.Get(s.Renew(id, func(g *grants.Grant, _ uint64) { g.Client, g.Doubt = fmt.Sprint("c", n%3), doubt }))(t)
		}
		want := map[record.Identity]string{}
		must.Do(t, s.All(func(g grants.Grant) {
			if g.Doubt != "" {
				want[g.Identity] = g.Client
			}
		}))
		if got, err := s.Doubted(); err != nil || !maps.Equal(got, want) {
			t.Fatalf("step %d: got %v, %v, want %v", n, got, err, want)
		}
	}
}

// BenchmarkDoubted measures who is in doubt among 20,000 people: the first time, when each
// grant is read, and later.
func BenchmarkDoubted(b *testing.B) {
	dir := b.TempDir()
	ring := must.Get(keys.Load(filepath.Join(dir, "keyring"), filepath.Join(dir, "key"), keys.Make))(b)
	s, err := grants.New(filepath.Join(dir, "grants"), ring)
	for n := range 20_000 {
		if err == nil {
			_, err = s.Renew(record.Identity{Source: "corp", Subject: fmt.Sprint(n)}, func(g *grants.Grant, _ uint64) {
				if n%10 == 0 {
					g.Doubt = "lost"
				}
			})
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	ask := func(s *grants.Grants) {
		if got, err := s.Doubted(); err != nil || len(got) != 2000 {
			b.Fatal(len(got), err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			s := must.Get(grants.New(filepath.Join(dir, "grants"), ring))(b)
			ask(s)
		}
	})
	b.Run("later", func(b *testing.B) {
		ask(s)
		for b.Loop() {
			ask(s)
		}
	})
}
