package text

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

const fieldMax = 320 // runes: no uid and no name is longer

// Field is a line of text being typed.
type Field struct{ Value string }

// Key edits the line, by a key or what it types, and reports whether the line changed. A
// paste counts as text. Control characters, which no name has, are left out.
func (f *Field) Key(name, types string) bool {
	before := f.Value
	switch {
	case types != "":
		f.Add(types)
	case name == "backspace", name == "ctrl+h":
		r := []rune(f.Value)
		f.Value = string(r[:max(len(r)-1, 0)])
	case name == "ctrl+u":
		f.Value = ""
	case name == "ctrl+w":
		s := strings.TrimRight(f.Value, " ")
		f.Value = s[:strings.LastIndexByte(s, ' ')+1]
	}
	return f.Value != before
}

// Add adds text at the end, if there is room for all of it.
func (f *Field) Add(s string) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(f.Value + s); len(r) <= fieldMax {
		f.Value = string(r)
	}
	f.Value = wholeToken.ReplaceAllString(f.Value, "$1")
}

// wholeToken is a token. Of one that is pasted, only the id is kept, which finds it: the
// rest is a secret, and would stand on the screen and be sent as a filter.
var wholeToken = regexp.MustCompile(`(?i)\b([0-9a-f]{28})[0-9a-f]{228}\b`)

// View shows the end of the line, where typing happens, in at most width
// columns.
func (f *Field) View(width int, editing bool) string {
	s := Escape(f.Value)
	if editing {
		s += "_"
	}
	if over := Width(s) - width; over > 0 {
		s = ansi.TruncateLeft(s, over+1, "…")
	}
	return s
}
