package storage_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

func logIn(t *testing.T, s *storage.Store, id storage.Identity, addresses ...string) storage.User {
	t.Helper()
	u := must.Get(s.LogIn(admin, storage.Login{Identity: id, Addresses: addresses, Name: id.Source}))(t)
	return u
}

// Only the identity that made a user renames it.
func TestUIDFollows(t *testing.T) {
	hub, lab, dir, dir2 := storage.Identity{Source: "github", Subject: "7"}, storage.Identity{Source: "gitlab", Subject: "7"}, storage.Identity{Source: storage.SourceLDAP, Subject: "6f1d"}, storage.Identity{Source: storage.SourceLDAP, Subject: "7a2e"}
	type step struct {
		by        storage.Identity
		addresses []string
		want      string
	}
	for name, test := range map[string]struct {
		first  storage.Identity // the zero value: a local account
		linked []storage.Identity
		steps  []step
	}{
		"a local user, linked to the directory": {linked: []storage.Identity{dir}, steps: []step{
			{dir, []string{"directory@example.com"}, "first@example.com"},
			{dir, []string{"FIRST@example.com"}, "first@example.com"},
			{dir, nil, "first@example.com"},
		}},
		"a provider's user, linked to the directory": {first: hub, linked: []storage.Identity{dir}, steps: []step{
			{dir, []string{"directory@example.com"}, "first@example.com"},
			{hub, []string{"first@example.com"}, "first@example.com"},
			{dir, []string{"directory@example.com"}, "first@example.com"},
			{hub, []string{"new@example.com"}, "new@example.com"},
			{dir, []string{"first@example.com"}, "new@example.com"},
		}},
		"the directory's user, linked to providers": {first: dir, linked: []storage.Identity{hub, lab}, steps: []step{
			{hub, []string{"hub@example.com"}, "first@example.com"},
			{lab, []string{"lab@example.com", "first@example.com"}, "first@example.com"},
			{dir, []string{"new@example.com"}, "new@example.com"},
			{hub, []string{"hub@example.com"}, "new@example.com"},
		}},
		"two subjects of one directory": {first: dir, linked: []storage.Identity{dir2}, steps: []step{
			{dir2, []string{"second@example.com"}, "first@example.com"},
			{dir, []string{"new@example.com"}, "new@example.com"},
			{dir2, []string{"second@example.com"}, "new@example.com"},
		}},
		"addresses in any order": {first: dir, steps: []step{
			{dir, []string{"other@example.com", "first@example.com"}, "first@example.com"},
			{dir, []string{"first@example.com", "other@example.com"}, "first@example.com"},
			{dir, []string{"other@example.com", "FIRST@Example.com"}, "first@example.com"}, // applications may compare uids with case
			{dir, []string{"other@example.com", "third@example.com"}, "other@example.com"},
			{dir, []string{"third@example.com", "other@example.com"}, "other@example.com"},
		}},
		"addresses that are invalid or taken": {first: dir, steps: []step{
			{dir, []string{"no address", "new@example.com"}, "new@example.com"},
			{dir, []string{"taken@example.com", "free@example.com"}, "free@example.com"},
			{dir, []string{"taken@example.com"}, "free@example.com"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			addUser(t, s, "taken@example.com")
			var id storage.UserID
			if test.first == (storage.Identity{}) {
				id = addUser(t, s, "first@example.com").ID
			} else {
				id = logIn(t, s, test.first, "first@example.com").ID
			}
			for _, l := range test.linked {
				must.Do(t, s.Link(admin, "first@example.com", l))
			}
			for i, step := range test.steps {
				if u := logIn(t, s, step.by, step.addresses...); u.UID != step.want || u.ID != id {
					t.Fatalf("step %d, %v with %q: got %s, want %s", i, step.by, step.addresses, u.UID, step.want)
				}
				if u, err := s.User(step.want); err != nil || u.ID != id {
					t.Fatalf("step %d: by the name %s: got %+v, %v", i, step.want, u, err)
				}
			}
		})
	}
}

// No identity changes a uid that an administrator has set.
func TestRenameUser(t *testing.T) {
	s := open(t, t.TempDir())
	hub := storage.Identity{Source: "github", Subject: "7"}
	u := logIn(t, s, hub, "first@example.com")
	addUser(t, s, "taken@example.com")
	_, secret := create(t, s, u)
	cookie, err := s.CreateSession(admin, u.ID, hub.Source, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RenameUser(admin, u.UID, "TAKEN@example.com"); !errors.Is(err, storage.ErrUserExists) {
		t.Errorf("a name that is taken: got %v", err)
	}
	if err := s.RenameUser(admin, "nobody@example.com", "x@example.com"); !errors.Is(err, storage.ErrNoUser) {
		t.Errorf("nobody: got %v", err)
	}
	if err, invalid := s.RenameUser(admin, u.UID, "no address"), (*storage.InvalidError)(nil); !errors.As(err, &invalid) {
		t.Errorf("no address: got %v", err)
	}
	for _, to := range []string{"FIRST@example.com", "chosen@example.com", "chosen@example.com"} {
		must.Do(t, s.RenameUser(admin, u.UID, to))
		if u, err = s.User(to); err != nil || u.UID != to {
			t.Fatalf("got %+v, %v, want %s", u, err, to)
		}
	}
	if again := logIn(t, s, hub, "first@example.com", "other@example.com"); again.UID != "chosen@example.com" || again.ID != u.ID {
		t.Errorf("after a login: got %+v", again)
	}
	wantLive(t, s, secret)
	if v, err := s.Session(cookie.Reveal()); err != nil || v.UID != "chosen@example.com" {
		t.Errorf("the session: got %+v, %v", v, err)
	}
	if other := logIn(t, s, storage.Identity{Source: "github", Subject: "8"}, "first@example.com"); other.ID == u.ID {
		t.Error("the old name leads to the user")
	}
}

// In random logins by several identities, a uid changes only when the identity
// that made the user no longer has it among its addresses.
func TestUIDFollowsAtRandom(t *testing.T) {
	s := open(t, t.TempDir())
	r := rand.New(rand.NewPCG(14, 4))
	ids := []storage.Identity{{Source: "github", Subject: "7"}, {Source: storage.SourceLDAP, Subject: "6f1d"}, {Source: "gitlab", Subject: "9"}, {Source: storage.SourceLDAP, Subject: "7a2e"}}
	pool := []string{"a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"}
	u := logIn(t, s, ids[0], pool[0])
	for _, id := range ids[1:] {
		must.Do(t, s.Link(admin, u.UID, id))
	}
	renamed, maker := 0, true
	for i := range 400 {
		if i == 300 { // from then on no identity may rename
			must.Do(t, s.Unlink(admin, u.UID, ids[0]))
			ids, maker = ids[1:], false
		}
		r.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		n, by := 1+r.IntN(len(pool)), r.IntN(len(ids))
		now := logIn(t, s, ids[by], pool[:n]...)
		may := maker && by == 0 && !slices.Contains(pool[:n], u.UID)
		if now.ID != u.ID || (now.UID != u.UID) != may {
			t.Fatalf("login %d by %v with %q: %s became %s", i, ids[by], pool[:n], u.UID, now.UID)
		}
		if now.UID != u.UID {
			renamed++
		}
		u = now
	}
	if renamed == 0 {
		t.Error("the uid never followed")
	}
}

// The first login has the same outcome for every order of the addresses, and needs
// at least one.
func TestFirstLogin(t *testing.T) {
	s := open(t, t.TempDir())
	addUser(t, s, "taken@example.com")
	dir, hub := storage.Identity{Source: storage.SourceLDAP, Subject: "6f1d"}, storage.Identity{Source: "github", Subject: "7"}
	for _, addresses := range [][]string{{"new@example.com", "taken@example.com"}, {"TAKEN@example.com", "new@example.com"}} {
		if u, err := s.LogIn(admin, storage.Login{Identity: dir, Addresses: addresses}); !errors.Is(err, storage.ErrOtherAccount) {
			t.Errorf("%q: got %+v, %v, want ErrOtherAccount", addresses, u, err)
		}
	}
	for _, addresses := range [][]string{nil, {""}, {"no address", "@", "a b@example.com"}} {
		if u, err := s.LogIn(admin, storage.Login{Identity: hub, Addresses: addresses}); !errors.Is(err, storage.ErrNoAddress) {
			t.Errorf("%q: got %+v, %v, want ErrNoAddress", addresses, u, err)
		}
	}
	// A provider names the preferred address, and that address decides.
	if u := logIn(t, s, hub, "new@example.com", "taken@example.com"); u.UID != "new@example.com" {
		t.Errorf("got %s", u.UID)
	}
	if _, err := s.LogIn(admin, storage.Login{Identity: hub}); !errors.Is(err, storage.ErrNoAddress) {
		t.Errorf("whose address is gone: got %v, want ErrNoAddress", err)
	}
}
