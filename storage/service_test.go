package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

func addService(t testing.TB, s *storage.Store, name, owner, successor string) storage.User {
	t.Helper()
	u := must.Get(s.AddService(admin, name, owner, successor, "what it is for"))(t)
	return u
}

// answersFor returns who answers for a service account: "owner successor", - for nobody.
func answersFor(t testing.TB, s *storage.Store, uid string) string {
	t.Helper()
	i, err := s.Service(uid, 0)
	if err != nil {
		return err.Error()
	}
	name := func(u storage.User) string {
		if u.ID == 0 {
			return "-"
		}
		return strings.TrimSuffix(u.UID, "@example.com")
	}
	if id, err := s.ServiceOwner(i.ID); err != nil || id != i.Owner.ID || i.Orphaned() != (id == 0) || s.Orphan(i.User) != i.Orphaned() {
		t.Errorf("%s: the owner is %x here and %x there, %v", uid, id, i.Owner.ID, err)
	}
	return name(i.Owner) + " " + name(i.Successor)
}

// servicesOf lists the service accounts that a person owns; "": all.
func servicesOf(t testing.TB, s *storage.Store, person storage.UserID) string {
	t.Helper()
	list := must.Get(s.Services(person, 0))(t)
	var names []string
	for _, i := range list {
		names = append(names, record.ServiceName(i.UID))
	}
	return strings.Join(names, " ")
}

// reserved are spellings of the uid of a service account.
var reserved = []string{
	"deploy@service", "new@service", "x@SERVICE", "X@Service", "x@ｓｅｒｖｉｃｅ", "x@ſervice", "a@b@service", "a@x＠service",
	`"a b"@service`, `"a@b"@service`, "x@service.", "x@serv\ufe00ice", "x@\u115fservice", "x@servi\u034fce", "x@service。", "x@service｡", "x@service．",
}

// TestWaysToAServiceUID: nobody but a service account gets the uid of one, whichever way a
// uid comes in. Each way is tried with a free uid, with one that is taken, and in other
// spellings.
func TestWaysToAServiceUID(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	addService(t, s, "deploy", alice.UID, "")
	n := 0
	next := func(source string) storage.Identity {
		n++
		return storage.Identity{Source: source, Subject: fmt.Sprint("subject ", n)}
	}
	known := func(source string) storage.Identity {
		id := next(source)
		must.Get(s.LogIn(admin, storage.Login{Identity: id, Addresses: []string{fmt.Sprintf("known%d@example.com", n)}}))(t)
		return id
	}
	login := func(id storage.Identity, addresses ...string) error {
		_, err := s.LogIn(admin, storage.Login{Identity: id, Addresses: addresses})
		return err
	}
	ways := map[string]func(uid string) error{
		"user add":    func(uid string) error { _, err := s.AddUser(admin, uid, "", "hash"); return err },
		"user rename": func(uid string) error { return s.RenameUser(admin, alice.UID, uid) },
		"import": func(uid string) error {
			_, err := s.ImportUsers(admin, []storage.User{{UID: uid, Source: storage.SourceLocal}})
			return err
		},
		"directory": func(uid string) error { return login(next(storage.SourceLDAP), uid) },
		"provider":  func(uid string) error { return login(next("github"), uid) },
		"directory, with another address": func(uid string) error {
			return login(next(storage.SourceLDAP), uid, fmt.Sprintf("other%d@example.com", n))
		},
		"provider, with another address": func(uid string) error { return login(next("github"), uid, fmt.Sprintf("other%d@example.com", n)) },
		"directory, a change of address": func(uid string) error { return login(known(storage.SourceLDAP), uid) },
		"provider, a change of address":  func(uid string) error { return login(known("github"), uid) },
		"directory, linked": func(uid string) error {
			id := next(storage.SourceLDAP)
			return errors.Join(s.Link(admin, alice.UID, id), login(id, uid))
		},
	}
	for way, try := range ways {
		for _, uid := range reserved {
			err := try(uid)
			if named := strings.Contains(way, "another") || strings.Contains(way, "linked"); (err == nil) != named {
				t.Errorf("%s of %q: got %v", way, uid, err)
			}
			if got, err := s.User(uid); err == nil && got.UID != "deploy@service" {
				t.Errorf("%s: %q is now %q", way, uid, got.UID)
			}
		}
	}
	for u, err := range s.Users(storage.UserFilter{Order: storage.ByName}) {
		if err != nil || u.UID != "deploy@service" && record.IsServiceUID(u.UID) {
			t.Errorf("got %q, %v", u.UID, err)
		}
	}
	for _, uid := range []string{"x@service.example.com", "x@my-service", "service@example.com", "x@services", `"x@service"@example.com`} {
		if _, err := s.AddUser(admin, uid, "", "hash"); err != nil {
			t.Errorf("%q: got %v, want a user", uid, err)
		}
	}
}

// TestServiceHasNoWayIn: a service account gets no password, no identity and no other name.
func TestServiceHasNoWayIn(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	u := addService(t, s, "deploy", alice.UID, "")
	hub := storage.Identity{Source: "github", Subject: "7"}
	for what, err := range map[string]error{
		"password": s.SetPassword(admin, u.UID, "hash"), "identity": s.Link(admin, u.UID, hub),
		"name": s.RenameUser(admin, u.UID, "x@example.com"), "service name": s.RenameUser(admin, u.UID, "other@service"),
		"login delay": second(s.UnlockUser(admin, u.UID)),
	} {
		if !errors.Is(err, storage.ErrService) {
			t.Errorf("%s: got %v, want ErrService", what, err)
		}
	}
	if hash, err := s.PasswordHash(u); hash != "" || err != nil {
		t.Errorf("got the password %q, %v", hash, err)
	}
	for _, name := range []string{"", "-a", "Deploy", "a.b", "a b", "a_b", "ä", "a@example.com", "a@service@service", strings.Repeat("a", 64), "a\u202e"} {
		if _, err := s.AddService(admin, name, alice.UID, "", ""); !errors.As(err, new(*storage.InvalidError)) {
			t.Errorf("name %q: got %v, want an InvalidError", name, err)
		}
	}
	for what, err := range map[string]error{
		"the owner as the successor": second(s.AddService(admin, "x", alice.UID, alice.UID, "")),
		"a service as the owner":     second(s.AddService(admin, "x", u.UID, "", "")),
		"a service as the successor": second(s.AddService(admin, "x", alice.UID, u.UID, "")),
		"two lines":                  second(s.AddService(admin, "x", alice.UID, "", "a\nb")),
		"a transfer to a service":    s.TransferService(admin, u.UID, u.UID, nil),
	} {
		if !errors.As(err, new(*storage.InvalidError)) {
			t.Errorf("%s: got %v, want an InvalidError", what, err)
		}
	}
	for what, c := range map[string]struct{ got, want error }{
		"no owner":           {second(s.AddService(admin, "x", "nobody@example.com", "", "")), storage.ErrNoUser},
		"no successor":       {second(s.AddService(admin, "x", alice.UID, "nobody@example.com", "")), storage.ErrNoUser},
		"twice":              {second(s.AddService(admin, "deploy", alice.UID, "", "")), storage.ErrUserExists},
		"transfer a person":  {s.TransferService(admin, alice.UID, alice.UID, nil), storage.ErrNoService},
		"remove a person":    {s.RemoveService(admin, alice.UID), storage.ErrNoService},
		"transfer to nobody": {s.TransferService(admin, u.UID, "nobody@example.com", nil), storage.ErrNoUser},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", what, c.got, c.want)
		}
	}
	if got := answersFor(t, s, "x@service"); got != storage.ErrNoService.Error() {
		t.Errorf("what was refused exists: %s", got)
	}
}

func second[T any](_ T, err error) error { return err }

// TestOwnerLeaves: what happens to service accounts when their owner does, also in a store
// that was killed, that lost its index, and that was restored.
func TestOwnerLeaves(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice, bob, carol := addUser(t, s, "alice@example.com"), addUser(t, s, "bob@example.com"), addUser(t, s, "carol@example.com")
	one := addService(t, s, "one", alice.UID, bob.UID)
	two := addService(t, s, "two", alice.UID, "")
	three := addService(t, s, "three", carol.UID, alice.UID)
	var secrets []string
	for _, u := range []storage.User{one, two, three} {
		_, secret := create(t, s, u)
		secrets = append(secrets, secret)
	}
	want := func(s *storage.Store, a, b, c string, owned ...string) {
		t.Helper()
		for n, who := range []string{a, b, c} {
			if got := answersFor(t, s, []storage.User{one, two, three}[n].UID); got != who {
				t.Errorf("%s: got %q, want %q", []storage.User{one, two, three}[n].UID, got, who)
			}
			wantLive(t, s, secrets[n])
		}
		for n, list := range owned {
			if got := servicesOf(t, s, []storage.UserID{alice.ID, bob.ID, carol.ID}[n]); got != list {
				t.Errorf("user %d owns %q, want %q", n, got, list)
			}
		}
		orphans := strings.Count(strings.Join([]string{a, b, c}, ","), "- -")
		if all, orphaned, err := s.CountServices(); all != 3 || orphaned != orphans || err != nil {
			t.Errorf("got %d, %d orphaned, %v, want 3, %d", all, orphaned, err, orphans)
		}
	}
	want(s, "alice bob", "alice -", "carol alice", "one two", "", "three")
	if servicesOf(t, s, 0) != "one three two" {
		t.Errorf("got all: %q", servicesOf(t, s, 0))
	}
	early := backupOf(t, s)

	// While the owner is stopped, nothing happens.
	must.Do(t, errors.Join(s.DisableUser(admin, alice.UID), s.EnableUser(admin, alice.UID), s.Suspend(admin, alice.ID, storage.Suspension{Source: storage.SourceLDAP}, "locked")))
	want(s, "alice bob", "alice -", "carol alice", "one two", "", "three")

	must.Do(t, s.RemoveUser(admin, alice.UID))
	after := func(s *storage.Store) { t.Helper(); want(s, "bob -", "- -", "carol -", "", "one", "three") }
	after(s)
	for _, e := range []string{"service.transfer one@service from alice@example.com, who is removed, to bob@example.com", "service.orphan two@service its owner alice@example.com is removed"} {
		if n := told(t, s, e); n != 1 {
			t.Errorf("got %d events %q, want 1", n, e)
		}
	}
	// Somebody who gets the address inherits nothing.
	again := addUser(t, s, alice.UID)
	if got := servicesOf(t, s, again.ID); got != "" {
		t.Errorf("a new person with the address owns %q", got)
	}
	after(s)

	killed := openAgain(t, dir)
	after(killed)
	at := copyDir(t, dir)
	must.Do(t, os.RemoveAll(filepath.Join(at, "store", "index")))
	after(open(t, at))
	late := backupOf(t, s)
	fresh := t.TempDir()
	with := storage.Options{KeyFile: filepath.Join(dir, "key")}
	restoreTo(t, late, fresh, with)
	after(openWith(t, fresh, with))

	// A backup of before the removal, restored over the store: the removal counts.
	over := copyDir(t, dir)
	restoreTo(t, early, over, storage.Options{})
	after(open(t, over))

	must.Do(t, errors.Join(s.TransferService(admin, "two@service", carol.UID, nil), s.RemoveUser(admin, bob.UID)))
	want(s, "- -", "carol -", "carol -", "", "", "three two")
	must.Do(t, s.RemoveService(admin, "one@service"))
	wantDead(t, s, secrets[0])
	if got := answersFor(t, s, "one@service"); got != storage.ErrNoService.Error() {
		t.Errorf("got %q", got)
	}
	if n := told(t, s, "service.remove one@service "); n != 1 {
		t.Errorf("got %d events of the removal", n)
	}
	newer := addService(t, s, "one", carol.UID, "")
	if newer.ID == one.ID || answersFor(t, s, "one@service") != "carol -" {
		t.Error("the name can't be used again")
	}
	wantDead(t, s, secrets[0])
}

// told counts the events that read "action uid detail".
func told(t testing.TB, s *storage.Store, want string) (n int) {
	t.Helper()
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		if e.Action+" "+e.UID+" "+e.Detail == want {
			n++
		}
	}
	return n
}

// TestTransferService is the table of what a transfer does with the successor.
func TestTransferService(t *testing.T) {
	s := open(t, t.TempDir())
	for _, name := range []string{"alice", "bob", "carol"} {
		addUser(t, s, name+"@example.com")
	}
	addService(t, s, "x", "alice@example.com", "")
	none, bob, carol := "", "bob@example.com", "carol@example.com"
	for _, c := range []struct {
		owner     string
		successor *string
		want      string
	}{
		{"alice", &bob, "alice bob"},
		{"carol", nil, "carol bob"},
		{"bob", nil, "bob -"},
		{"alice", &carol, "alice carol"},
		{"alice", &none, "alice -"},
		{"ALICE", nil, "alice -"}, // nothing changes
		{"alice", &none, "alice -"},
	} {
		must.Do(t, s.TransferService(admin, "x@service", c.owner+"@example.com", c.successor))
		if got := answersFor(t, s, "x@service"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if n := told(t, s, "service.transfer x@service from carol@example.com, successor bob@example.com to bob@example.com"); n != 1 {
		t.Errorf("got %d events", n)
	}
	if n := told(t, s, "service.transfer x@service from alice@example.com to alice@example.com"); n != 0 {
		t.Errorf("got %d events of transfers that change nothing", n)
	}
}

// TestManyServicesOfOne: the removal of a user who owns very many service accounts is one
// change that fits into the log, and tells of all of them.
func TestManyServicesOfOne(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "alice@example.com")
	const many = 3 * storage.MostTold
	for n := range many {
		addService(t, s, fmt.Sprint("s", n), alice.UID, "")
	}
	must.Do(t, s.RemoveUser(admin, alice.UID))
	counted := 0
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		if e.Action == storage.ActionServiceOrphan {
			counted += max(1, e.Count)
		}
	}
	if all, orphaned, err := s.CountServices(); counted != many || all != many || orphaned != many || err != nil {
		t.Errorf("got events of %d, %d accounts, %d orphaned, %v, want %d", counted, all, orphaned, err, many)
	}
}
