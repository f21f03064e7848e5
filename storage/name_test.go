package storage

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestNamesOfPeopleAndTokens is the rule of names. What a person gives is taken or refused; of what a
// directory or a provider has, something is kept that can be read.
func TestNamesOfPeopleAndTokens(t *testing.T) {
	const refused = "\x00"
	for _, c := range []struct{ in, want, from string }{
		{"", "", ""},
		{"nightly", "nightly", "nightly"},
		{"Zoë 李 שלום", "Zoë 李 שלום", "Zoë 李 שלום"},
		{" a  b\u00a0", "a  b", "a  b"},
		{"  ", "", ""},
		{"\u3000\u2003", "", ""},
		{" \u200c\u200d ", "", ""},
		{"\u3164", "", ""},
		{"\ufe0f", "", ""},

		{"می\u200cخواهم", "می\u200cخواهم", "می\u200cخواهم"},
		{"ه\u200d", "ه\u200d", "ه\u200d"},
		{"क्\u200dष", "क्\u200dष", "क्\u200dष"},
		{"👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"},
		{"👩\u200d❤\ufe0f\u200d👨", "👩\u200d❤\ufe0f\u200d👨", "👩\u200d❤\ufe0f\u200d👨"},
		{"\u0600١٢", "\u0600١٢", "\u0600١٢"}, // the Arabic number sign is drawn

		{"a\x00b", refused, `a\x00b`},
		{"a\x1b[31mb", refused, `a\x1b[31mb`},
		{"a\x7fb", refused, `a\x7fb`},
		{"a\u009b31m", refused, `a\x9b31m`},
		{"a\u0085b", refused, "a b"},
		{"a\r\nb", refused, "a  b"},
		{"a\tb", refused, "a b"},
		{"a\u2028b", refused, "a b"},
		{"a\u2029", refused, "a"},
		{"a\u202egnp.exe", refused, `a\u202egnp.exe`},
		{"a\u2066b\u2069", refused, `a\u2066b\u2069`},
		{"\u200fa", refused, `\u200fa`},
		{"\u061ca", refused, `\u061ca`},
		{"a\u200bb", refused, `a\u200bb`},
		{"a\u00adb", refused, `a\xadb`},
		{"\ufeffa", refused, `\ufeffa`},
		{"a\U000e0041", refused, `a\U000e0041`},
		{"\xff", refused, "\ufffd"},
		{"\x1b", refused, `\x1b`},
		{strings.Repeat("ä", 200), strings.Repeat("ä", 200), strings.Repeat("ä", 200)},
		{strings.Repeat("ä", 201), refused, strings.Repeat("ä", 200)},
		{strings.Repeat(" ", 201) + "ä", "ä", "ä"},
	} {
		got, err := cleanName(c.in)
		if err != nil {
			got = refused
			if invalid := (*InvalidError)(nil); !errors.As(err, &invalid) {
				t.Errorf("%+q: got %v, want an *InvalidError", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("%+q: got %+q, want %+q", c.in, got, c.want)
		}
		if got := nameFrom(c.in); got != c.from {
			t.Errorf("%+q of a directory: got %+q, want %+q", c.in, got, c.from)
		}
	}
}

// FuzzNameFrom: a name of a directory is one that a person could have given, and
// stays the same at the next login.
func FuzzNameFrom(f *testing.F) {
	f.Add("\u202ea\xff\t\u200d")
	f.Add(strings.Repeat("\U000e0041", 30))
	f.Add(strings.Repeat("a", 199) + " \x1b")
	f.Fuzz(func(t *testing.T, s string) {
		name := nameFrom(s)
		clean, err := cleanName(name)
		if err != nil || clean != name || nameFrom(name) != name {
			t.Errorf("%+q: got %+q, cleaned %+q, %v, again %+q", s, name, clean, err, nameFrom(name))
		}
		if !utf8.ValidString(name) {
			t.Errorf("%+q: got %+q", s, name)
		}
	})
}

// TestNamesAreCleanWhereTheyAreKept: all ways in lead through the rule.
func TestNamesAreCleanWhereTheyAreKept(t *testing.T) {
	s := open(t, t.TempDir())
	u, err := s.AddUser(admin, "alice@example.com", " می\u200cخواهم ", "hash")
	if err != nil || u.Name != "می\u200cخواهم" {
		t.Errorf("got user %+q, %v", u.Name, err)
	}
	made, _, err := s.CreateToken(admin, u.ID, TokenSpec{Name: "  "})
	if err != nil || made.Name != "" {
		t.Errorf("got token %+q, %v", made.Name, err)
	}
	if err := s.RenameToken(admin, made.ID, " 👩\u200d👧 "); err != nil {
		t.Error(err)
	}
	if v, err := s.Token(made.ID); err != nil || v.Name != "👩\u200d👧" {
		t.Errorf("got token %+q, %v", v.Name, err)
	}
	login := Login{Identity: Identity{"ldap", "1"}, Addresses: []string{"bob@example.com"}, Name: "\u202eBob"}
	for range 2 { // a new user, and one who comes again
		u, err = s.LogIn(admin, login)
		if err != nil || u.Name != `\u202eBob` {
			t.Errorf("got user %+q, %v", u.Name, err)
		}
	}
	for what, err := range map[string]error{
		"user":   func() error { _, err := s.AddUser(admin, "c@example.com", "a\u202e", "hash"); return err }(),
		"token":  func() error { _, _, err := s.CreateToken(admin, u.ID, TokenSpec{Name: "a\u202e"}); return err }(),
		"rename": s.RenameToken(admin, made.ID, "a\u202e"),
	} {
		if !errors.As(err, new(*InvalidError)) {
			t.Errorf("%s: got %v, want an *InvalidError", what, err)
		}
	}
}
