package text

import (
	"slices"
	"strings"
	"unicode"
)

// How a typed word fits a name, the worst first. Each counts more than all that is below.
const (
	scattered = 1 + iota // its letters are in the name, in their order
	inOneWord            // the same, in one word that begins with the first of them
	inHint               // it is in the hint
	within               // it is in the name
	ofAWord              // a word of the name begins with it
	first                // the name does
)

// Fuzzy reports whether each word that is typed fits the name or its hint, and how well:
// how, the lower the worse, and, among those alike, how close.
func Fuzzy(typed, name, hint string) (how, close int, ok bool) {
	name, hint = strings.ToLower(name), strings.ToLower(hint)
	how = first
	all := strings.Fields(strings.ToLower(typed))
	if strings.HasPrefix(name, strings.Join(all, " ")) {
		return first, 0, true
	}
	for _, w := range all {
		h, c := fits(w, name, hint)
		if h == 0 {
			return 0, 0, false
		}
		how, close = min(how, h), close+c
	}
	return how, close, true
}

func fits(w, name, hint string) (how, close int) {
	switch at := strings.Index(name, w); {
	case at == 0:
		return first, 0
	case at > 0 && slices.ContainsFunc(words(name), func(s string) bool { return strings.HasPrefix(s, w) }):
		return ofAWord, 0
	case at > 0:
		return within, 0
	case strings.Contains(hint, w):
		return inHint, 0
	}
	for n, s := range words(name) {
		// The share of the word that was typed, in percent; the first word is what the thing is called.
		if c := 100*len(w)/len(s) + btoi(n == 0); s[0] == w[0] && inOrder(w, s) && c > close {
			how, close = inOneWord, c
		}
	}
	if how == 0 && inOrder(w, name) {
		how = scattered
	}
	return how, close
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// inOrder reports whether the letters of w are in s, in their order.
func inOrder(w, s string) bool {
	for _, r := range w {
		at := strings.IndexRune(s, r)
		if at < 0 {
			return false
		}
		s = s[at+len(string(r)):]
	}
	return true
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
