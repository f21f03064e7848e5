package keys_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
)

func rotated(t *testing.T, r keys.Ring, now, ends int64) keys.Ring {
	t.Helper()
	r = must.Get(r.Rotated(now, ends))(t)
	return r
}

// The tokens of each key are the same after a rotation, and new ones get another key.
func TestRotated(t *testing.T) {
	_, _, first := fresh(t)
	before := fmt.Sprint(first)
	tokens := first.TokenKeys()
	old := tokens.NewID()
	secret := tokens.Secret(old, 1)
	second := rotated(t, first, 5, 0)
	third := rotated(t, second, 7, 100)
	fourth := rotated(t, third, 9, 200)
	if fmt.Sprint(first) != before {
		t.Error("the rotation changed the keyring that it began with")
	}
	for n, r := range []keys.Ring{second, third, fourth} {
		tokens.Use(r)
		if id, _, ok := tokens.Identify(secret.Reveal()); !ok || id != old || tokens.Secret(old, 1) != secret {
			t.Errorf("rotation %d: the token from before is another", n+1)
		}
		if id := tokens.NewID(); id[0] != byte(n+2) || tokens.Secret(id, 1) == "" {
			t.Errorf("rotation %d: the new token has the key %d", n+1, id[0])
		}
		if r.Root != first.Root {
			t.Errorf("rotation %d: the root key changed", n+1)
		}
	}
	// A later rotation makes no key end later.
	for number, want := range map[byte]int64{1: 100, 2: 100, 3: 200, 4: 0} {
		if got := tokens.Ends(number); got != want {
			t.Errorf("key %d ends at %d, want %d", number, got, want)
		}
	}
	tokens.Use(fourth.Without(1, 4))
	if tokens.Has(1) || !tokens.Has(4) {
		t.Error("the old key must be dropped, and the current one must not")
	}
	if _, _, ok := tokens.Identify(secret.Reveal()); ok || tokens.Secret(old, 1) != "" {
		t.Error("the token of a dropped key is still one")
	}
}

// Numbers are used again once their keys are dropped, but never before.
func TestNumbers(t *testing.T) {
	_, _, r := fresh(t)
	for len(r.Tokens) < 255 {
		before := len(r.Tokens)
		if r = rotated(t, r, 1, 0); len(r.Tokens) != before+1 || r.Current == 0 {
			t.Fatalf("the rotation to key %d left %d keys, of %d", r.Current, len(r.Tokens), before)
		}
	}
	if _, err := r.Rotated(1, 0); !errors.Is(err, keys.ErrFull) {
		t.Errorf("got %v, want %v", err, keys.ErrFull)
	}
	if r = rotated(t, r.Without(77), 1, 0); r.Current != 77 {
		t.Errorf("got key %d, want the free 77", r.Current)
	}
}

// A keyring with ends must not be opened by a program that does not know them.
func TestKeyringVersion(t *testing.T) {
	ring, key, r := fresh(t)
	f := readKey(t, key)
	for version, r := range map[int]keys.Ring{1: rotated(t, r, 1, 0), 2: rotated(t, r, 1, 2)} {
		b := must.Get(f.Seal(r))(t)
		var sealed struct{ Version int }
		if err := json.Unmarshal(b, &sealed); err != nil || sealed.Version != version {
			t.Errorf("got version %d, %v, want %d", sealed.Version, err, version)
		}
		if got, err := f.Open(ring, b); err != nil || fmt.Sprint(got.Tokens, got.Ends) != fmt.Sprint(r.Tokens, r.Ends) {
			t.Errorf("version %d: got other keys, %v", version, err)
		}
	}
}

// TestRestored: the restored keyring has the keys of the backup's tokens, and every end
// that either side knows.
func TestRestored(t *testing.T) {
	_, _, first := fresh(t)
	_, _, other := fresh(t)
	other.Root = first.Root
	ended := rotated(t, first, 5, 100)
	fork := rotated(t, first, 6, 50)
	type is struct {
		current byte
		keys    keys.Ring // the tokens of its keys work
		ends    map[byte]int64
	}
	for name, c := range map[string]struct {
		backup, store keys.Ring
		want          is
	}{
		"same":                                {first, first, is{1, first, nil}},
		"older backup":                        {first, ended, is{2, ended, map[byte]int64{1: 100}}},
		"newer backup":                        {ended, first, is{2, ended, map[byte]int64{1: 100}}},
		"older backup, its key dropped":       {first, ended.Without(1), is{2, ended, nil}},
		"backup with a dropped key":           {ended.Without(1), first, is{2, ended.Without(1), nil}},
		"the number is another key's":         {ended, fork, is{2, ended, map[byte]int64{1: 50}}},
		"two rotations later, number taken":   {ended, rotated(t, fork, 7, 0), is{3, ended, map[byte]int64{1: 50}}},
		"ends that both know: the earlier":    {rotated(t, first, 5, 10), rotated(t, first, 5, 20), is{2, first, map[byte]int64{1: 10}}},
		"another current key, fewer rotation": {rotated(t, ended, 8, 0), ended, is{3, ended, map[byte]int64{1: 100}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.backup.Restored(c.store)
			if got.Current != c.want.current || got.Tokens[got.Current] == ([32]byte{}) {
				t.Errorf("new tokens have the key %d, want %d", got.Current, c.want.current)
			}
			for number, k := range c.backup.Tokens {
				if got.Tokens[number] != k {
					t.Errorf("key %d of the backup is gone", number)
				}
			}
			for number, k := range c.want.keys.Tokens {
				if got.Tokens[number] != k {
					t.Errorf("key %d is another", number)
				}
				if got.Ends[number] != c.want.ends[number] {
					t.Errorf("key %d ends at %d, want %d", number, got.Ends[number], c.want.ends[number])
				}
			}
		})
	}
}
