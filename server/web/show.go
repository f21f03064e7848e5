package web

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another. Living scripts
// get along with it; a tower of fifty would cover the rows above.
const maxMarks = 4

// show returns s with every character that is invisible, changes the direction of the
// text or breaks the line written out, as \u202e: what is read is what is there.
// (html/template takes care of markup.) tui/text does the same for terminals, and a test
// there compares the two.
func show(s string) string {
	var b strings.Builder
	marks, start := 0, true
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		mark := unicode.In(r, unicode.Mn, unicode.Me)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unseen(r), mark && (start || marks >= maxMarks):
			escape(&b, r)
		default:
			b.WriteRune(r)
			start = false
		}
		if mark {
			marks++
		} else {
			marks = 0
		}
		i += n
	}
	return b.String()
}

func unseen(r rune) bool {
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func escape(b *strings.Builder, r rune) {
	switch {
	case r <= 0xff:
		fmt.Fprintf(b, `\x%02x`, r)
	case r <= 0xffff:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}
