package api

import (
	"slices"
	"strings"
	"unicode"
)

// Word is a part of the terminal's query line, between blanks. The terminal and the server
// read the line with the same code: what the terminal says will be revoked is what the server
// finds.
type Word struct {
	Name  string // before the first colon outside quotation marks, in lower case; empty: there is none
	Value string // without quotation marks
	plain bool   // it has neither a colon nor a quotation mark
}

// Words divides a query line at its blanks. Quotation marks keep a text with blanks together,
// and may begin anywhere: name:"my laptop". One in the text is written \". One that is not
// closed ends with the line; then closed is false.
func Words(line string) (list []Word, closed bool) {
	w, text, quoted, begun := Word{plain: true}, "", false, false
	end := func() {
		if w.Value = text; begun {
			list = append(list, w)
		}
		w, text, begun = Word{plain: true}, "", false
	}
	for _, r := range line {
		switch {
		case r == '"' && strings.HasSuffix(text, `\`):
			text = strings.TrimSuffix(text, `\`) + `"`
		case r == '"':
			quoted, begun, w.plain = !quoted, true, false
		case !quoted && unicode.IsSpace(r):
			end()
		case r == ':' && !quoted && w.plain:
			w.Name, w.plain, begun, text = strings.ToLower(text), false, true, ""
		default:
			text, begun = text+string(r), true
		}
	}
	end()
	return list, !quoted
}

// Filter returns the name and value of the filter that the word is, which the forms may not
// have. A bare word is a search, or a filter that takes no value.
func (w Word) Filter(forms []FilterForm) (name, value string) {
	takesNone := func(name string) bool {
		return slices.ContainsFunc(forms, func(f FilterForm) bool { return f.Name == name && f.Value == "" })
	}
	switch {
	case w.plain && takesNone(w.Value):
		return w.Value, "true"
	case w.Name == "":
		return "search", w.Value
	case takesNone(w.Name) && slices.Contains([]string{"", "yes"}, w.Value):
		return w.Name, "true"
	}
	return w.Name, w.Value
}
