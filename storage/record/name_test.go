package record_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/storage/record"
)

// TestNamesOfPeopleAndTokens tests the rule for names. A name that a person types is
// accepted or refused. A name from a directory or a provider becomes something readable.
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
		got, err := record.CleanName(c.in)
		if err != nil {
			got = refused
			if invalid := (*record.InvalidError)(nil); !errors.As(err, &invalid) {
				t.Errorf("%+q: got %v, want an *InvalidError", c.in, err)
			}
		}
		if got != c.want {
			t.Errorf("%+q: got %+q, want %+q", c.in, got, c.want)
		}
		if got := record.NameFrom(c.in); got != c.from {
			t.Errorf("%+q of a directory: got %+q, want %+q", c.in, got, c.from)
		}
	}
}

// FuzzNameFrom: a name made from a directory's name is one that a person could
// have typed, and stays the same at the next login.
func FuzzNameFrom(f *testing.F) {
	f.Add("\u202ea\xff\t\u200d")
	f.Add(strings.Repeat("\U000e0041", 30))
	f.Add(strings.Repeat("a", 199) + " \x1b")
	f.Fuzz(func(t *testing.T, s string) {
		name := record.NameFrom(s)
		clean, err := record.CleanName(name)
		if err != nil || clean != name || record.NameFrom(name) != name {
			t.Errorf("%+q: got %+q, cleaned %+q, %v, again %+q", s, name, clean, err, record.NameFrom(name))
		}
		if !utf8.ValidString(name) {
			t.Errorf("%+q: got %+q", s, name)
		}
	})
}

func TestFold(t *testing.T) {
	const want = "alice.fisher@example.com"
	for _, spelling := range []string{
		"alice.fisher@example.com",
		"ALICE.Fisher@EXAMPLE.com",
		"ａｌｉｃｅ．ｆｉｓｈｅｒ＠ｅｘａｍｐｌｅ．ｃｏｍ", // fullwidth
		"ALICE.ﬁsher@example.com",  // a ligature
		"𝐚𝐥𝐢𝐜𝐞.fisher@example.com", // mathematical bold
		"alice.fiſher@example.com", // a long s
	} {
		if got := record.Fold(spelling); got != want {
			t.Errorf("%s: got %q, want %q", spelling, got, want)
		}
	}
	for _, same := range [][2]string{{"STRASSE@example.com", "straße@example.com"}, {"e\u0301@example.com", "É@example.com"}, {"ς@x.gr", "Σ@x.gr"}} {
		if a, b := record.Fold(same[0]), record.Fold(same[1]); a != b {
			t.Errorf("%s and %s fold to %q and %q, want one", same[0], same[1], a, b)
		}
	}
	for _, s := range []string{"ŉ@x", "ΐ@x", "ﬃ@x", "K@x", "İ@x", "ẞ@x", "\u0345@x", "㎞@x"} {
		if once, twice := record.Fold(s), record.Fold(record.Fold(s)); once != twice {
			t.Errorf("%q folds to %q, and that to %q", s, once, twice)
		}
	}
}

func TestCheckUID(t *testing.T) {
	long := strings.Repeat("a", 242) + "@example.com" // 254 bytes
	for uid, good := range map[string]bool{
		"alice@example.com":         true,
		"me@localhost":              true,
		"o'neil+tag@example.com":    true,
		"Zoë@exämple.com":           true,
		"\"a@b\"@example.com":       true,
		long:                        true,
		"":                          false,
		"alice":                     false,
		"@example.com":              false,
		"alice@":                    false,
		"alice@example@com":         false,
		"@@example.com":             false,
		"\"@example.com":            true,
		"\"@\"@example.com":         true,
		"\"@example@example.com":    false,
		"al ice@example.com":        false,
		" alice@example.com":        false,
		"alice@example.com\n":       false,
		"alice\x00@example.com":     false,
		"alice\u00a0@example.com":   false,
		"alice\u202e@example.com":   false, // turns the line around
		"alice\u200b@example.com":   false, // shows as nothing
		"alice\u2028@example.com":   false,
		"alice\x1b[31m@example.com": false,
		"alice\xff@example.com":     false,
		"a" + long:                  false,
	} {
		err := record.CheckUID(uid)
		if good != (err == nil) || err != nil && !errors.As(err, new(*record.InvalidError)) {
			t.Errorf("%q: got %v, want good: %v", uid, err, good)
		}
	}
}
