package text

import (
	"slices"
	"strings"
	"unicode"
)

// Fuzzy reports whether each word that is typed fits the text, and how well: by being in
// it, or by its letters being there in their order.
func Fuzzy(typed, in string) (score int, ok bool) {
	in = strings.ToLower(in)
	for _, w := range strings.Fields(strings.ToLower(typed)) {
		at := strings.Index(in, w)
		switch n := len([]rune(w)); {
		case at == 0 || at > 0 && in[at-1] == ' ':
			score += 8 * n
		case at > 0:
			score += 6 * n
		default:
			s := letters(w, in)
			if s < 4*n {
				return 0, false // they are scattered
			}
			score += s
		}
	}
	return score, true
}

// letters says how well the letters of a word are in a text: those side by side and at
// the start of words count more. Less than 0: they are not all there.
func letters(word, in string) (score int) {
	rest, before, streak := []rune(in), ' ', 0
	for _, r := range word {
		at := slices.Index(rest, r)
		if at < 0 {
			return -1
		}
		if at > 0 {
			before, streak = rest[at-1], 0
		}
		if streak++; !unicode.IsLetter(before) {
			score += 3
		}
		score += 2*streak - min(at, 10)/5
		rest, before = rest[at+1:], r
	}
	return score
}
