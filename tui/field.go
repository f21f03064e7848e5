package tui

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"gatehouse/tui/text"
)

const fieldMax = 320 // runes: no uid and no name is longer

// field is a line of text being typed.
type field struct{ value string }

// key edits the line and reports whether it changed. A paste is text here,
// without what no name has.
func (f *field) key(k key) bool {
	before := f.value
	switch {
	case k.text != "":
		f.add(k.text)
	case k.name == "backspace", k.name == "ctrl+h":
		r := []rune(f.value)
		f.value = string(r[:max(len(r)-1, 0)])
	case k.name == "ctrl+u":
		f.value = ""
	case k.name == "ctrl+w":
		s := strings.TrimRight(f.value, " ")
		f.value = s[:strings.LastIndexByte(s, ' ')+1]
	}
	return f.value != before
}

func (f *field) add(s string) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(f.value + s); len(r) <= fieldMax {
		f.value = string(r)
	}
}

// view shows the end of the line, where typing happens, in at most width
// columns.
func (f *field) view(width int, editing bool) string {
	s := text.Escape(f.value)
	if editing {
		s += "_"
	}
	if over := text.Width(s) - width; over > 0 {
		s = ansi.TruncateLeft(s, over+1, "…")
	}
	return s
}
