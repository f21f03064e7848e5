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
		{"alice", "all keys", false},
		{"xyz", "lock the user", false},
		{"user list", "all users", true}, // in the hint
		{"名", "user 名前@example.jp", true},
		{"前名", "user 名前@example.jp", false},
	} {
		if _, _, ok := Fuzzy(c.typed, c.in, "gatehouse user list"); ok != c.ok {
			t.Errorf("%q in %q: %v", c.typed, c.in, ok)
		}
	}
	// Each fits worse than the one before.
	for typed, names := range map[string][]string{
		"lock": {"lock: the user", "the lock", "unlock", "l of users: they can't unpack"},
		"lck":  {"lock: the user", "review: locked", "low, calm and thick"},
	} {
		before, closer := 1<<10, 0
		for _, n := range names {
			how, close, ok := Fuzzy(typed, n, "")
			if !ok || how > before || how == before && close >= closer {
				t.Errorf("%q: %q fits %d, %d, %v, after %d, %d", typed, n, how, close, ok, before, closer)
			}
			before, closer = how, close
		}
	}
	if _, _, ok := Fuzzy("lock", "left over: a book", ""); ok {
		t.Error("letters that are not there fit")
	}
}
