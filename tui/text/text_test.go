package text

import (
	"bytes"
	"encoding/json"
	"gatehouse/server/legible"
	"gatehouse/storage/storagetest/must"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"alice@example.com", "alice@example.com"},
		{"Ünïcödé 名前", "Ünïcödé 名前"},
		{"a\x1b[31mred", `a\x1b[31mred`},
		{"a\u009b31m", `a\x9b31m`},
		{"a\u202egnp.exe", `a\u202egnp.exe`},
		{"a\u2066b\u2069", `a\u2066b\u2069`},
		{"zero\u200bwidth\u00ad", `zero\u200bwidth\xad`},
		{"a\nb\tc\r", `a\x0ab\x09c\x0d`},
		{"line\u2028", `line\u2028`},
		{"\U000e0041tag", `\U000e0041tag`},
		{"\u0301first", `\u0301first`},
		{"e\u0301", "e\u0301"},
		{"z" + strings.Repeat("\u0301", 6), "z" + strings.Repeat("\u0301", 4) + `\u0301\u0301`},
		{"\u3164", `\u3164`},
		{"x\ufe0f", `x\ufe0f`},
		{"bad\xffbyte", `bad\xffbyte`},
		{"\x7f", `\x7f`},
		{"می\u200cخواهم", "می\u200cخواهم"},
		{"API\u200cها", "API\u200cها"},
		{"क्\u200dष", "क्\u200dष"},
		{"م\u200c\u200cی", "م\u200c" + `\u200c` + "ی"},
		{"\u200cمی", `\u200c` + "می"},
		{"pay\u200dpal", `pay\u200dpal`},
		{"pay\u200cpal", `pay\u200cpal`},
		{"👩\u200d👩\u200d👧 family", "👩👩👧 family"}, // terminals don't agree how wide it is
		{"👩\u200d❤\ufe0f\u200d👨", "👩❤👨"},
		{"👩\u200d", "👩" + `\u200d`},
	} {
		if got := Escape(c.in); got != c.want {
			t.Errorf("Escape(%+q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestJSONEscapesWhatATerminalObeys(t *testing.T) {
	in := map[string]string{"name": "a\u202eb\u0085c\x1bd\x7f<\U000e0041é"}
	got := must.Get(JSON(in))(t)
	if want := `{"name":"a\u202eb\u0085c\u001bd\u007f<\udb40\udc41é"}`; string(got) != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
	var back map[string]string
	if err := json.Unmarshal(got, &back); err != nil || back["name"] != in["name"] {
		t.Errorf("reads back as %+q, %v; want %+q", back["name"], err, in["name"])
	}
}

func TestTableAlignsByGrapheme(t *testing.T) {
	var b bytes.Buffer
	table := NewTable(&b, "NAME", "STATE")
	table.Row("名前", "active")
	table.Row("e\u0301ve", "active")
	table.Row("\x1b[2J", "active")
	must.Do(t, table.Flush())
	want := "NAME     STATE\n名前     active\ne\u0301ve      active\n\\x1b[2J  active\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func FuzzCells(f *testing.F) {
	f.Add("plain", 5)
	f.Add("名\x1b\u202e\u0301前", 3)
	f.Add("👩‍👩‍👧 family", 4)
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = (width%200 + 200) % 200
		for _, cell := range []string{Left(s, width), Right(s, width)} {
			if got := Width(cell); got != width {
				t.Errorf("%+q in %d columns takes %d", s, width, got)
			}
			if !utf8.ValidString(cell) || strings.ContainsFunc(strings.NewReplacer("\u200c", "", "\u200d", "").Replace(cell), legible.Hidden) {
				t.Errorf("%+q comes out unsafe: %+q", s, cell)
			}
		}
		b, err := JSON(s)
		if err != nil || bytes.ContainsFunc(b, legible.Hidden) {
			t.Errorf("JSON(%+q) = %s, %v", s, b, err)
		}
		var back string
		if err := json.Unmarshal(b, &back); err != nil || utf8.ValidString(s) && back != s {
			t.Errorf("JSON(%+q) reads back as %+q, %v", s, back, err)
		}
	})
}
