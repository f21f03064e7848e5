package storage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the length of the longest name of a person or a token, in characters.
const maxName = 200

// cleanName returns a name that a person gave to a token or to a person, without the
// blanks around it. A name in which nothing can be seen is no name: "". It returns an
// *InvalidError for what is no name: see unfit.
func cleanName(s string) (string, error) {
	s = strings.TrimFunc(s, blank)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName || strings.ContainsFunc(s, unfit) {
		return "", invalidf("a name is one line of at most %d characters, without control characters", maxName)
	}
	if !strings.ContainsFunc(s, visible) {
		return "", nil
	}
	return s, nil
}

// nameFrom makes a name of what a directory or a provider calls a person, who can't
// be asked to correct it: white space becomes blanks, and what is unfit is written
// out, as \u202e, so that the rest can still be read.
func nameFrom(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case !unfit(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	name := []rune(strings.TrimFunc(b.String(), blank))
	clean, _ := cleanName(string(name[:min(len(name), maxName)]))
	return clean
}

// unfit reports whether no name may have the character: controls, those that break
// the line or change its direction, and those that nobody sees. U+200C and U+200D
// are invisible too, but without them Persian, the languages of India, and families
// of emoji can't be written.
func unfit(r rune) bool {
	switch r {
	case '\u200c', '\u200d':
		return false
	case '\u2028', '\u2029':
		return true
	}
	return unicode.IsControl(r) ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

func blank(r rune) bool { return unicode.Is(unicode.Zs, r) }

// visible reports whether the character is drawn, whatever stands beside it.
func visible(r rune) bool {
	return !blank(r) && r != '\u200c' && r != '\u200d' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
