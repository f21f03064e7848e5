package guard

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/secure/precis"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// cheap are parameters under which a test need not wait.
var cheap = argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// TestPrepareIsOpaqueString: what RFC 8265 allows is prepared as it says.
func TestPrepareIsOpaqueString(t *testing.T) {
	for _, p := range []string{
		"correct horse", "Åse", "A\u030ase", "\u212b", "パスワード", "ﾊﾟｽ", "\u1112\u1161\u11ab", "한", "e\u0323\u0302", "e\u0302\u0323",
		"a\u3000b", "a\u00a0b", "a\u2003b", "ſ", "ﬁ", "Σς", "👩", " leading", "trailing ", "ख\u093c", "\u0958",
	} {
		want, err := precis.OpaqueString.String(p)
		if err != nil {
			t.Fatalf("%+q: the profile refuses it: %v", p, err)
		}
		if got := prepare(p); got != want {
			t.Errorf("%+q: got %+q, the profile has %+q", p, got, want)
		}
	}
}

// FuzzPrepare: to prepare a prepared password changes nothing.
func FuzzPrepare(f *testing.F) {
	for _, p := range []string{"", "A\u030a", "\ufeff", "\ufeff\ufeffx", "\xff", "\x00", "a\u3000\u0301", "👩\u200d👧", "\u00a0\u0338"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		once := prepare(p)
		if again := prepare(once); again != once && !strings.HasPrefix(once, "\ufeff") {
			t.Errorf("%+q: got %+q, and of that %+q", p, once, again)
		}
	})
}

// TestPasswordForms: a password matches in every form in which it can be typed.
func TestPasswordForms(t *testing.T) {
	h := NewHasher(cheap, 4, 1024)
	raw := func(p string) storage.PasswordHash { // as it was hashed before there were forms
		text := must.Get(argon2id.CreateHash(p, &cheap))(t)
		return storage.PasswordHash(text)
	}
	set := func(p string) storage.PasswordHash {
		hash := must.Get(h.Hash(context.Background(), p))(t)
		return hash
	}
	const composed, decomposed = "P\u00e4ssw\u00f6rd \u00e9", "Pa\u0308sswo\u0308rd\u00a0e\u0301"
	for _, c := range []struct {
		what  string
		hash  storage.PasswordHash
		typed string
		want  bool
	}{
		{"composed, typed so", set(composed), composed, true},
		{"composed, typed decomposed", set(composed), decomposed, true},
		{"decomposed, typed composed", set(decomposed), composed, true},
		{"decomposed, typed so", set(decomposed), decomposed, true},
		{"another", set(composed), "Passwo\u0308rd", false},
		{"without its accents", set(composed), "Password e", false},
		{"set before, decomposed", raw(decomposed), decomposed, true},
		{"set before, composed", raw(composed), composed, true},
		{"set before, composed with a plain blank", raw(composed), decomposed, true},
		{"set before, another", raw(decomposed), "Pa\u0308sswo\u0308rt", false},
		{"set before with a mark", raw("\ufeffpw5"), "\ufeffpw5", true},
		{"a mark in front", set("pw5"), "\ufeffpw5", true},
		{"no user", "", decomposed, false},
		{"not UTF-8", set("\ufffd"), "\xff", false},
	} {
		if got, err := h.Matches(c.typed, c.hash); err != nil || got != c.want {
			t.Errorf("%s: got %t, %v", c.what, got, err)
		}
	}
	for _, p := range []string{"", "\ufeff", strings.Repeat("a", maxPassword+1), strings.Repeat("\u0958", maxPassword/3), "a\xff"} {
		if _, err := h.Hash(context.Background(), p); err == nil {
			t.Errorf("%.20q of %d bytes was set", p, len(p))
		}
	}
}

// TestPasswordWork: how much is hashed depends on what was typed, and not on whether the
// user exists or which form is right.
func TestPasswordWork(t *testing.T) {
	p := cheap
	p.Memory = 4 << 10 // KiB
	h := NewHasher(p, 4, 1024)
	hashes := func(typed string, hash storage.PasswordHash) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		must.Get(h.Matches(typed, hash))(t)
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / (4 << 20)
	}
	const composed, decomposed = "p\u00e4ss", "pa\u0308ss"
	prepared := must.Get(h.Hash(context.Background(), composed))(t)
	text := must.Get(argon2id.CreateHash(decomposed, &p))(t)
	for typed, want := range map[string]uint64{"pass": 1, composed: 1, decomposed: 2, strings.Repeat("a\u0308", 200): 2, "\xff": 1} {
		for who, hash := range map[string]storage.PasswordHash{"nobody": "", "set now": prepared, "set before": storage.PasswordHash(text)} {
			if got := hashes(typed, hash); got != want {
				t.Errorf("%s, %.10q typed: %d hashes, want %d", who, typed, got, want)
			}
		}
	}
}

// TestDummyHash: the hash for unknown users has the form and the cost of a real one.
func TestDummyHash(t *testing.T) {
	for _, p := range []argon2id.Params{HashParams, cheap} {
		got, _, _, err := argon2id.DecodeHash(NewHasher(p, 4, 1024).dummy)
		if err != nil || *got != p {
			t.Errorf("got %v, %v, want %v", got, err, p)
		}
	}
	if HashParams.Memory < 19<<10 || HashParams.Iterations < 2 {
		t.Errorf("got %v, want OWASP's parameters or stronger", HashParams)
	}
}
