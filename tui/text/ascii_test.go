package text

import (
	"strings"
	"testing"
)

func TestUTF8(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "POSIX"}, false},
		{map[string]string{"LANG": "C.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.utf8"}, true},
		{map[string]string{"LANG": "de_DE"}, false},
		{map[string]string{"LANG": "de_DE.ISO-8859-1"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "", "LC_CTYPE": ""}, true},
		{map[string]string{"LANG": "C", "LC_MESSAGES": "en_US.UTF-8"}, false},
	} {
		if got := UTF8(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: got %v, want %v", c.env, got, c.want)
		}
	}
}

func TestASCII(t *testing.T) {
	for in, want := range map[string]string{
		"plain":            "plain",
		"┌─┐ │…│ └─┘":      "+-+ |~| +-+",
		"\x1b[1m▁█\x1b[0m": "\x1b[1m_#\x1b[0m",
		"zoë":              "zo?",
		"e\u0301ve":        "eve",
		"名前 x":             "???? x",
		"👩 👍🏽 🇩🇪":          "?? ?? ??",
		"می\u200cخو":       "????",
		"\x1b[36m名\x1b[0m": "\x1b[36m??\x1b[0m",
	} {
		if got := ASCII(in); got != want {
			t.Errorf("%+q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzASCII(f *testing.F) {
	f.Add("\x1b[31m名\u0301 ─ 👩\x1b[0m")
	f.Fuzz(func(t *testing.T, s string) {
		s = "\x1b[1m" + Escape(s) + "\x1b[0m│"
		got := ASCII(s)
		if strings.ContainsFunc(got, beyond) || Width(got) != Width(s) {
			t.Errorf("%+q: got %+q of %d columns, want %d", s, got, Width(got), Width(s))
		}
	})
}
