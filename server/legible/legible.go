// Package legible writes out the characters that a reader of a text would not see, or that
// change how the text around them is shown: names, addresses and messages come from
// strangers. The web page and the terminal both show text in this way. It never decides
// what may be stored, and does not quote for HTML.
package legible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another. It is enough for living
// scripts. A tower of fifty would cover the rows above.
const maxMarks = 4

// Text returns s with every character that is invisible, changes the direction of the text
// or breaks the line written as \x1b, \u202e or \U000e0041. Bytes that are not UTF-8 are
// written as \xff.
func Text(s string) string { return write(s, true) }

// Apart is like Text, but splits a joined emoji into its parts (UTS 51, section 2.2), because
// terminals disagree about its width.
func Apart(s string) string { return write(s, false) }

func write(s string, whole bool) string {
	if Plain(s) {
		return s
	}
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
		case joins(before, r, after):
			b.WriteRune(r)
		case inEmoji(before, r, after):
			if whole {
				b.WriteRune(r)
			}
		case Hidden(r), mark && (start || marks >= maxMarks):
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

// Plain reports whether s is printable ASCII, as nearly everything is.
func Plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Hidden reports whether r is written out: controls, the format characters (bidirectional
// overrides, zero-width joiners, tags), separators of lines, private and unassigned ones,
// and the letters and selectors that are drawn as nothing. Text makes an exception for
// joiners in their place.
func Hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
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
