package storage_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/storage"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestUsers(t *testing.T) {
	s := open(t, t.TempDir())
	alice := addUser(t, s, "Alice@example.com")
	if _, err := s.AddUser(admin, "ＡＬＩＣＥ@example.com", "", "x"); !errors.Is(err, storage.ErrUserExists) {
		t.Errorf("another spelling: got %v, want ErrUserExists", err)
	}
	_, secret := create(t, s, alice)
	if hash, err := s.PasswordHash(alice); hash != "hash of Alice@example.com" || err != nil {
		t.Errorf("got %q, %v", hash, err)
	}
	mallory := addUser(t, s, "mallory@example.com")
	mallory.Password = alice.Password // moved to another record
	if hash, err := s.PasswordHash(mallory); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("got %q, %v, want ErrDamaged", hash, err)
	}

	must.Do(t, s.DisableUser(admin, "alice@example.com"))
	wantDead(t, s, secret)
	if _, _, err := s.CreateToken(admin, alice.ID, storage.TokenSpec{}); !errors.Is(err, storage.ErrNoUser) {
		t.Errorf("a token for a disabled user: got %v, want ErrNoUser", err)
	}
	must.Do(t, s.EnableUser(admin, "alice@example.com"))
	wantLive(t, s, secret)
	must.Do(t, s.RemoveUser(admin, "alice@example.com"))
	wantDead(t, s, secret)
	for name, err := range map[string]error{
		"remove": s.RemoveUser(admin, "alice@example.com"), "enable": s.EnableUser(admin, "alice@example.com"),
		"disable": s.DisableUser(admin, "alice@example.com"), "password": s.SetPassword(admin, "alice@example.com", "x"),
	} {
		if !errors.Is(err, storage.ErrNoUser) {
			t.Errorf("%s after the removal: got %v, want ErrNoUser", name, err)
		}
	}

	// A new person with the old address inherits nothing.
	again := addUser(t, s, "alice@example.com")
	if again.ID == alice.ID {
		t.Error("an internal id was given twice")
	}
	wantDead(t, s, secret)
	if list, err := allTokensOf(s, again.ID); len(list) != 0 || err != nil {
		t.Errorf("got %d tokens, %v, want none", len(list), err)
	}
	if info, err := s.UserInfo("alice@example.com", 0); info.Tokens != 0 || info.LastUsed != 0 || err != nil {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestSessions(t *testing.T) {
	begin := func(t *testing.T) (*storage.Store, *storagetest.Clock, storage.Secret) {
		c := newClock()
		s := openWith(t, t.TempDir(), timed(t, c))
		u := addUser(t, s, "alice@example.com")
		cookie := must.Get(s.CreateSession(storage.Actor{Name: u.UID}, u.ID, storage.SourceLocal, ""))(t)
		return s, c, cookie
	}
	want := func(t *testing.T, s *storage.Store, cookie storage.Secret, live bool) {
		t.Helper()
		v, err := s.Session(cookie.Reveal())
		if live && (err != nil || v.Method != storage.SourceLocal) || !live && !errors.Is(err, storage.ErrNoSession) {
			t.Errorf("got %+v, %v, want live: %v", v, err, live)
		}
	}
	end := func(fn func(s *storage.Store, cookie storage.Secret) error) func(t *testing.T) {
		return func(t *testing.T) {
			s, _, cookie := begin(t)
			want(t, s, cookie, true)
			want(t, s, cookie+"x", false)
			want(t, s, "", false)
			must.Do(t, fn(s, cookie))
			want(t, s, cookie, false)
			if s.EnableUser(admin, "alice@example.com") == nil {
				want(t, s, cookie, false) // a session, unlike a token, ends for good
			}
		}
	}
	t.Run("log out", end(func(s *storage.Store, cookie storage.Secret) error { return s.EndSession(cookie.Reveal()) }))
	t.Run("disable", end(func(s *storage.Store, _ storage.Secret) error { return s.DisableUser(admin, "alice@example.com") }))
	t.Run("new password", end(func(s *storage.Store, _ storage.Secret) error {
		return s.SetPassword(admin, "alice@example.com", "new")
	}))
	t.Run("remove", end(func(s *storage.Store, _ storage.Secret) error { return s.RemoveUser(admin, "alice@example.com") }))
	t.Run("of a disabled user", func(t *testing.T) {
		s, _, _ := begin(t)
		u, err := s.User("alice@example.com")
		if err = errors.Join(err, s.DisableUser(admin, u.UID)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateSession(admin, u.ID, storage.SourceLocal, ""); !errors.Is(err, storage.ErrNoUser) {
			t.Errorf("got %v, want ErrNoUser", err)
		}
	})
	t.Run("over a restart", func(t *testing.T) {
		s, c, cookie := begin(t)
		s.Close()
		want(t, openWith(t, s.Dir(), timed(t, c)), cookie, true)
	})
}

func TestFindToken(t *testing.T) {
	s := open(t, t.TempDir())
	u := addUser(t, s, "alice@example.com")
	ids := []storage.ID{{1, 0xab, 0xcd, 0xef, 0x01, 0x10}, {1, 0xab, 0xcd, 0xef, 0x01, 0x1f}, {1, 0xab, 0xcd, 0xef, 0x02}}
	must.Do(t, s.Do(admin, journal.Ordinary, func(t *storage.Tx) error {
		t.Event(storage.Event{Action: storage.ActionImport})
		for _, id := range ids {
			if err := t.AddToken(storage.Token{ID: id, Owner: u.ID, Created: t.Now, LastUsed: t.Now}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, c := range []struct {
		prefix string
		want   storage.ID
		err    error
	}{
		{ids[0].String(), ids[0], nil},
		{strings.ToUpper(ids[1].String()), ids[1], nil},
		{"01abcdef0110", ids[0], nil},
		{"01abcdef02", ids[2], nil},
		{"01abcdef011", storage.ID{}, storage.ErrAmbiguous}, // an odd number of characters
		{"01abcdef01", storage.ID{}, storage.ErrAmbiguous},
		{"01abcdef", storage.ID{}, storage.ErrAmbiguous},
		{"01abcdef03", storage.ID{}, storage.ErrNoToken},
		{"02abcdef", storage.ID{}, storage.ErrNoToken},
		{"01abcdeg", storage.ID{}, storage.ErrNoToken},
		{"01 abcdef", storage.ID{}, storage.ErrNoToken},
		{"../../../..", storage.ID{}, storage.ErrNoToken},
		{"nosuch", storage.ID{}, storage.ErrNoToken},
	} {
		if got, err := s.FindToken(c.prefix); !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%s: got %v, %v, want %v, %v", c.prefix, got, err, c.want, c.err)
		}
	}
	for _, bad := range []string{"", "01abcde", ids[0].String() + "0", strings.Repeat("x", 29)} {
		if got, err := s.FindToken(bad); !errors.As(err, new(*storage.InvalidError)) {
			t.Errorf("%q: got %v, %v, want an InvalidError", bad, got, err)
		}
	}
}

// An attacker who gets the directory of a running or stopped server finds no
// token, no password hash, no cookie, and no text that was typed in as a user
// name.
func TestNothingSecretOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var secrets []string
	keep := func(text string, forms ...string) { secrets = append(append(secrets, text), forms...) }
	for n := range 20 {
		hash := fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ%02d$aGFzaGhhc2g", n)
		u := must.Get(s.AddUser(admin, fmt.Sprintf("user%d@example.com", n), "", storage.PasswordHash(hash)))(t)
		keep(hash, hash[31:43], hash[44:])
		cookie := must.Get(s.CreateSession(storage.Actor{Name: u.UID}, u.ID, storage.SourceLocal, ""))(t)
		keep(cookie.Reveal(), decode64(t, cookie.Reveal()))
		for range 5 {
			id, secret := create(t, s, u)
			raw := decodeHex(t, secret)
			keep(secret, secret[30:60], raw, raw[keys.IDSize+1:keys.IDSize+17], raw[len(raw)-4-16:len(raw)-4])
			wantLive(t, s, secret)
			if n%2 == 0 {
				must.Get(s.RevokeTokens(admin, id))(t)
			}
		}
		typed := fmt.Sprintf("my pa55word %02d", n)
		s.Expiring().SetAttempts(typed, storage.Attempts{Failures: 1, Until: 1})
		keep(typed)
		if n%3 == 0 {
			must.Do(t, errors.Join(s.SetPassword(admin, u.UID, "$argon2id$another hash"), s.DisableUser(admin, u.UID)))
			keep("another hash")
		}
	}
	must.Do(t, s.Checkpoint(t.Context()))
	search(t, dir, secrets) // including Badger's log
	s.Close()
	search(t, dir, secrets)
}

func search(t *testing.T, dir string, secrets []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 && filepath.Dir(path) != filepath.Join(dir, "store", "index") {
			t.Errorf("%s has mode %04o", path, mode)
		}
		b, err := os.ReadFile(path)
		text := strings.TrimRight(string(b), "\x00")
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s has %q at %d", path, secret, at)
			}
		}
		return err
	})
	if err != nil || files < 8 {
		t.Errorf("%d files searched, %v", files, err)
	}
}

func decodeHex(t *testing.T, s string) string {
	t.Helper()
	b := must.Get(hex.DecodeString(s))(t)
	return string(b)
}

func decode64(t *testing.T, s string) string {
	t.Helper()
	b := must.Get(base64.RawURLEncoding.DecodeString(s))(t)
	return string(b)
}
