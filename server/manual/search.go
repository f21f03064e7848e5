package manual

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Result is a section that a search found.
type Result struct {
	Topic, Chapter string
	Section
	Excerpt []Part
}

// Part is a piece of an excerpt. Found says that it is one of the words searched for.
type Part struct {
	Text  string
	Found bool
}

// maxWords is how many words of a query count. A page with a longer query costs no more.
const maxWords = 8

// Search returns the sections in which words begin with each word of the query, in any
// case and order. Sections with the words in their title, or in the chapter's, come
// first, then those that contain the words more often.
func Search(query string) (list []Result) {
	words := strings.Fields(strings.ToLower(query))
	words = words[:min(len(words), maxWords)]
	if len(words) == 0 {
		return nil
	}
	type ranked struct {
		Result
		titles, times int
	}
	var found []ranked
	for _, page := range Pages() {
		chapter := strings.ToLower(page.Title)
		for _, s := range page.Sections {
			title, text := strings.ToLower(s.Title), strings.ToLower(s.Text)
			r := ranked{Result: Result{Topic: page.Topic, Chapter: page.Title, Section: s}}
			missing := false
			for _, w := range words {
				inTitle, inText := count(title, w), count(text, w)
				missing = missing || inTitle+inText == 0
				r.titles += min(inTitle, 1) + min(count(chapter, w), 1)
				r.times += inText
			}
			if !missing {
				r.Excerpt = excerpt(s.Text, words)
				found = append(found, r)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.titles, a.titles), cmp.Compare(b.times, a.times))
	})
	for _, r := range found {
		list = append(list, r.Result)
	}
	return list
}

// index returns where, at an offset or after it, a word begins with w, or -1.
func index(text, w string, at int) int {
	for ; ; at++ {
		i := strings.Index(text[at:], w)
		if i < 0 {
			return -1
		}
		at += i
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		first, _ := utf8.DecodeRuneInString(w)
		if !inWord(before) || !inWord(first) {
			return at
		}
	}
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// count returns how many words begin with w.
func count(text, w string) (n int) {
	for at := index(text, w, 0); at >= 0; at = index(text, w, at+len(w)) {
		n++
	}
	return n
}

// excerpt is the text around the first word that is in it, with the words marked.
func excerpt(text string, words []string) (parts []Part) {
	const before, length = 60, 240
	lower := strings.ToLower(text)
	if len(lower) != len(text) { // a letter has a small form of another length: offsets would be wrong
		lower = text
	}
	first := len(text)
	for _, w := range words {
		if i := index(lower, w, 0); i >= 0 {
			first = min(first, i)
		}
	}
	if first == len(text) {
		first = 0
	}
	from := boundary(text, max(0, first-before))
	to := boundary(text, min(len(text), from+length))
	if from > 0 {
		parts = append(parts, Part{Text: "… "})
	}
	for at := from; at < to; {
		next, size := to, 0
		for _, w := range words {
			if i := index(lower[:to], w, at); i >= 0 && i < next {
				next, size = i, len(w)
			}
		}
		if next > at {
			parts = append(parts, Part{Text: text[at:next]})
		}
		if size > 0 {
			parts = append(parts, Part{Text: text[next : next+size], Found: true})
		}
		at = next + size
	}
	if to < len(text) {
		parts = append(parts, Part{Text: " …"})
	}
	return parts
}

// boundary moves an offset back to the start of a word, if one is near, and never into
// the middle of a character.
func boundary(text string, at int) int {
	if at == 0 || at == len(text) {
		return at
	}
	for i := at; i > max(0, at-20); i-- {
		if text[i-1] == ' ' {
			return i
		}
	}
	for at > 0 && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}
