package text

import "testing"

func TestFuzzy(t *testing.T) {
	for _, c := range []struct {
		typed, in string
		ok        bool
	}{
		{"", "anything", true},
		{"lock", "lock the user: tokens and sessions stop; or unlock", true},
		{"LOCK user", "lock the user", true},
		{"nlu", "new local user", true},
		{"alice", "all keys of this screen", false},
		{"xyz", "lock the user", false},
		{"名", "user 名前@example.jp", true},
	} {
		if _, ok := Fuzzy(c.typed, c.in); ok != c.ok {
			t.Errorf("%q in %q: %v", c.typed, c.in, ok)
		}
	}
	exact, _ := Fuzzy("lock", "lock the user")
	if loose, _ := Fuzzy("lock", "unlock the user"); exact <= loose {
		t.Errorf("%d, and %d in the middle of a word", exact, loose)
	}
}
