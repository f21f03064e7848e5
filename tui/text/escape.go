// Package text makes what strangers wrote (names, addresses, messages of other
// servers) safe for a terminal: afterwards it can't move the cursor, turn the
// direction of the line, hide, or push the columns beside it out of place.
//
// It also lays text out by its width: in columns, and as facts, a name and a value a
// line; edits a line that is typed; and finds texts by what is typed. It never knows users,
// tokens or screens.
package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another. Living scripts
// get along with it; a tower of fifty would cover the rows above.
const maxMarks = 4

// Escape returns s with every character that a terminal would obey, hide or measure at
// its own discretion written as \x1b, \u202e or \U000e0041. Bytes that are not UTF-8 are
// written as \xff. An emoji that is made of several comes out as those (UTS 51, section
// 2.2), because terminals differ in how wide they draw the one. Except for that, the web
// page (server/web) does the same; TestEscapesAgree compares the two.
func Escape(s string) string {
	if plain(s) {
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
		case unsafe(r), mark && (start || marks >= maxMarks):
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

// JSON returns v as one line of JSON in which nothing but letters, marks,
// numbers, punctuation and symbols stands unescaped, so that it can be shown
// on a terminal as it is. It reads back as the same value.
func JSON(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(raw.Bytes(), []byte("\n"))
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		switch {
		case !unsafe(r):
			out = append(out, line[i:i+n]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out, nil
}

// plain reports whether s is printable ASCII, as nearly everything is.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// unsafe reports whether r is shown escaped: controls, the format characters
// (bidirectional overrides, zero-width joiners, tags), separators of lines, private and
// unassigned ones, and the letters and selectors that are drawn as nothing. Escape makes
// an exception for joiners in their place.
func unsafe(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return !unicode.IsGraphic(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// joins reports whether r is one of the two joiners, beside a letter of a script that
// is not written rightly without them. Between other letters they hide.
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

// inEmoji reports whether r makes one emoji of the two beside it, or asks for the
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
