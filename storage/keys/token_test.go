package keys_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/storagetest/must"
)

type vector struct {
	Name       string
	Token      string
	ID         string
	Generation byte
	Authentic  bool
}

// vectors reads the golden tokens and the keys for them.
func vectors(t testing.TB) (*keys.Tokens, []vector) {
	t.Helper()
	b := must.Get(os.ReadFile("../../testdata/tokens.json"))(t)
	var file struct {
		Keys    map[string]string
		Vectors []vector
	}
	must.Do(t, json.Unmarshal(b, &file))
	ring := keys.Ring{Tokens: map[byte][32]byte{}}
	for number, text := range file.Keys {
		kid := must.Get(strconv.ParseUint(number, 10, 8))(t)
		var k [32]byte
		must.Get(hex.Decode(k[:], []byte(text)))(t)
		ring.Tokens[byte(kid)] = k
	}
	return ring.TokenKeys(), file.Vectors
}

func TestGoldenTokens(t *testing.T) {
	s, list := vectors(t)
	refused := 0
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			id, _, ok := s.Identify(v.Token)
			if ok != v.Authentic {
				t.Fatalf("authentic: got %v, want %v", ok, v.Authentic)
			}
			if !ok {
				return
			}
			if id.String() != v.ID {
				t.Errorf("id: got %s, want %s", id, v.ID)
			}
			again := s.Secret(id, v.Generation)
			if again.Reveal() != v.Token {
				t.Errorf("derived again: got %s, want %s", again.Reveal(), v.Token)
			}
		})
		if !v.Authentic {
			refused++
		}
	}
	if len(list) < 60 || 2*refused <= len(list) {
		t.Errorf("%d vectors, %d to be refused: too few to mean anything", len(list), refused)
	}
}

// A single wrong character anywhere makes a token another text.
func TestEveryCharacterCounts(t *testing.T) {
	s, list := vectors(t)
	good := list[5].Token
	for i := range good {
		for _, c := range []byte("0f9aA g\x00\xff") {
			bad := good[:i] + string(rune(c)) + good[i+1:]
			if bad == good {
				continue
			}
			if _, _, ok := s.Identify(bad); ok {
				t.Fatalf("authentic with %q at %d", c, i)
			}
		}
	}
}

func TestSecretHidesItself(t *testing.T) {
	s := keys.Secret("0123456789abcdef")
	b := must.Get(json.Marshal(map[string]any{"s": s}))(t)
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), s.LogValue().String(), string(b)} {
		if strings.Contains(got, "0123") {
			t.Errorf("shown as %s", got)
		}
	}
}

func TestParseID(t *testing.T) {
	id := keys.NewID(1)
	got, err := keys.ParseID(id.String())
	if err != nil || got != id {
		t.Errorf("got %v, %v, want %v", got, err, id)
	}
	for _, bad := range []string{"", "01", id.String() + "00", strings.ToUpper(keys.ID{1, 0xab}.String()), strings.Repeat("g", 28)} {
		if got, err := keys.ParseID(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

// FuzzIdentify: no text causes a panic, and an identified token derives to the
// same text.
func FuzzIdentify(f *testing.F) {
	s, list := vectors(f)
	for _, v := range list {
		f.Add(v.Token)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, generation, ok := s.Identify(text)
		if !ok {
			return
		}
		if again := s.Secret(id, generation); again.Reveal() != text {
			t.Fatalf("%q is taken, but %q is the token", text, again.Reveal())
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	s, list := vectors(b)
	good, forged := "", ""
	for _, v := range list {
		switch {
		case v.Authentic && good == "":
			good = v.Token
		case v.Name == "keyed part random":
			forged = v.Token
		}
	}
	for _, c := range []struct{ name, token string }{{"authentic", good}, {"forged", forged}, {"mistyped", good[:255] + "!"}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Identify(c.token)
			}
		})
	}
}
