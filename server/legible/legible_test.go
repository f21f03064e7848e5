package legible_test

import (
	"testing"

	"gatehouse/server/legible"
)

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                                "",
		"nightly":                         "nightly",
		"Zoë 李 שלום 👩":                    "Zoë 李 שלום 👩",
		"नमस्ते":                          "नमस्ते",
		"a\x1b[31mb\x07":                  `a\x1b[31mb\x07`,
		"a\u202eb\u2066c":                 `a\u202eb\u2066c`,
		"a\u200bb\u00adc":                 `a\u200bb\xadc`,
		"a\nb\u2028c\x7f":                 `a\x0ab\u2028c\x7f`,
		"\xff\xc3":                        `\xff\xc3`,
		"\u3164":                          `\u3164`,
		"\U000e0041":                      `\U000e0041`,
		"\u0301a":                         `\u0301a`,
		"a\u0301\u0302\u0303\u0304\u0305": "a\u0301\u0302\u0303\u0304" + `\u0305`,
		"<b>":                             "<b>",
		"می\u200cخواهم":                   "می\u200cخواهم",
		"pay\u200dpal\u200c":              `pay\u200dpal\u200c`,
		"👩\u200d❤\ufe0f\u200d👨":           "👩\u200d❤\ufe0f\u200d👨",
	} {
		if got := legible.Text(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range legible.Text(s) {
			if legible.Hidden(r) && r != '\u200c' && r != '\u200d' && r != '\ufe0f' {
				t.Errorf("%q: %U is left in it", s, r)
			}
		}
	})
}
