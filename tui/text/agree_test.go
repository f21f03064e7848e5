package text_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"gatehouse/server/web"
	"gatehouse/tui/text"
)

// The web page and the terminal write out the same characters in the same way. The code
// exists twice, since neither may import the other, so these tests hold both to one
// table.

// TestEscapesAgree looks at every character there is, alone and between others,
// and at what has no character.
func TestEscapesAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: not with -short")
	}
	p := pages(t)
	list := []string{
		"alice@example.com", "Zoë 李 שלום 👩", "नमस्ते", "👩‍👩‍👧", "x\ufe0f", "a\x1b[31mb\x07", "a\u009b31m", "a\u202egnp.exe", "a\u2066b\u2069",
		"a\u200bb\u00adc", "a\nb\tc\r", "a\u2028b\u2029", "\x7f", "\x00", "\u3164", "\ufeff", "\ufffd", "\U000e0041", "\ue000", "\U0010ffff",
		"\xff", "\xc3", "a\xc3\x28", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "e\u0301", "\u0301first", "\u200b\u0301", "\x1b\u0301\u0301",
		"z" + strings.Repeat("\u0301", 3), "z" + strings.Repeat("\u0301", 4), "z" + strings.Repeat("\u0301", 9), "z" + strings.Repeat("\u20dd", 9),
		"z\u0301\u0301\u0301\u0301\u200b\u0301", " ",
		"می\u200cخواهم", "API\u200cها", "ه\u200d", "क्\u200dष", "\u200cمی", "م\u200c\u200cی", "a\u200cb", "pay\u200dpal", "👩\u200d❤\ufe0f\u200d👨", "❤\ufe0f", "👩🏽\u200d🚀", "👩\u200d", "👩\u200dی", "\u200d👩", "  ", `\x1b`, `<b>&amp;"'</b>`, "{{.}}",
	}
	var chunk strings.Builder
	for r := rune(0); r <= 0x10ffff; r++ {
		chunk.WriteString(string(r) + "a" + string(r) + string(r) + "b")
		if r%0x1000 == 0xfff {
			list = append(list, chunk.String())
			chunk.Reset()
		}
	}
	for _, s := range list {
		agree(t, p, s)
	}
}

func FuzzEscapesAgree(f *testing.F) {
	p := pages(f)
	f.Add("a\u202e\u0301\xff👩‍👩‍👧")
	f.Fuzz(func(t *testing.T, s string) { agree(t, p, s) })
}

func pages(t testing.TB) *web.Pages {
	p, err := web.New(false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// agree compares what a terminal shows with what a reader of the page sees.
func agree(t *testing.T, p *web.Pages, s string) {
	t.Helper()
	if s == "" {
		return // nobody is logged in
	}
	w := httptest.NewRecorder()
	if err := p.Write(w, http.StatusOK, web.Failure{UID: s}); err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(w.Body.String(), `<bdi>`)
	page, _, closed := strings.Cut(after, "</bdi>")
	if !ok || !closed {
		t.Fatalf("%+q: the page does not show it:\n%s", s, w.Body)
	}
	if got, want := apart(html.UnescapeString(page)), text.Escape(s); got != want {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("the page shows %.40q, the terminal %.40q", got[max(0, i-10):], want[max(0, i-10):])
	}
}

// apart separates an emoji that the page shows as one, as a terminal shows it.
func apart(s string) string {
	emoji := func(r rune) bool { return unicode.Is(unicode.So, r) && r != '\ufffd' || r >= 0x1f3fb && r <= 0x1f3ff }
	var out []rune
	list := []rune(s)
	for i, r := range list {
		if i > 0 {
			before := list[i-1]
			if r == '\ufe0f' && emoji(before) {
				continue
			}
			if r == '\u200d' && i+1 < len(list) && emoji(list[i+1]) && (emoji(before) || before == '\ufe0f') {
				continue
			}
		}
		out = append(out, r)
	}
	return string(out)
}
