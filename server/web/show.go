package web

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another. It is enough for living
// scripts. A tower of fifty would cover the rows above.
const maxMarks = 4

// show returns s with every character written out, as \u202e, that is invisible, changes
// the direction of the text or breaks the line. Readers see what is there.
// (html/template takes care of markup.) tui/text does the same for terminals, and a test
// there compares the two.
func show(s string) string {
	var b strings.Builder
	marks, start, before := 0, true, rune(0)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		mark := unicode.In(r, unicode.Mn, unicode.Me)
		i += n
		after, _ := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i-1])
		case joins(before, r, after), inEmoji(before, r, after):
			b.WriteRune(r)
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
		before = r
	}
	return b.String()
}

func unseen(r rune) bool {
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins reports whether r is one of the two joiners, next to a letter of a script that
// needs them. Between other letters they are invisible.
func joins(before, r, after rune) bool {
	return (r == '\u200c' || r == '\u200d') && before != '\u200c' && before != '\u200d' &&
		(unicode.In(before, joined...) || before != 0 && unicode.In(after, joined...))
}

// joined are the scripts whose letters join, or form clusters.
var joined = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mandaic, unicode.Nko, unicode.Mongolian, unicode.Adlam,
	unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu,
	unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar, unicode.Tibetan,
}

// inEmoji reports whether r joins the two emoji around it into one, or asks for the
// picture of the one before it.
func inEmoji(before, r, after rune) bool {
	switch r {
	case '\u200d':
		return emoji(after) && (emoji(before) || before == '\ufe0f')
	case '\ufe0f':
		return emoji(before)
	}
	return false
}

func emoji(r rune) bool {
	return unicode.Is(unicode.So, r) && r != utf8.RuneError || r >= 0x1f3fb && r <= 0x1f3ff // the last are shades of skin
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
