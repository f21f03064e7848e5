package tui

import (
	"strings"

	"gatehouse/server/api"
)

// complete completes the last word of a query line to a filter, or to a value of one.
// Where several would do, it goes as far as they agree, and hint says which they are.
func complete(line string, forms []api.FilterForm) (completed, hint string) {
	at := strings.LastIndexByte(line, ' ') + 1
	last := line[at:]
	name, value, isFilter := strings.Cut(last, ":")
	var found []string
	if isFilter {
		for _, f := range forms {
			if f.Name == strings.ToLower(name) {
				found, hint = beginning(values(f), value), f.Name+": "+f.Help
			}
		}
		name += ":"
	} else {
		var names []string
		for _, f := range forms {
			names = append(names, f.Name)
		}
		found, name = beginning(names, last), ""
	}
	switch len(found) {
	case 0:
		return line, hint
	case 1:
		return line[:at] + name + ending(found[0], isFilter, forms), hint
	}
	return line[:at] + name + common(found), strings.Join(found, "  ")
}

// values returns the values that a filter may have, if they are few.
func values(f api.FilterForm) []string {
	if f.Value == "" || f.Value != strings.ToLower(f.Value) {
		return nil
	}
	return strings.Split(f.Value, "|")
}

// ending is what follows a word that is complete: the value of a filter, or the next word.
func ending(word string, isValue bool, forms []api.FilterForm) string {
	for _, f := range forms {
		if !isValue && f.Name == word && f.Value != "" {
			return word + ":"
		}
	}
	return word + " "
}

func beginning(words []string, prefix string) (found []string) {
	for _, w := range words {
		if strings.HasPrefix(w, strings.ToLower(prefix)) {
			found = append(found, w)
		}
	}
	return found
}

// common is how all of the words begin.
func common(words []string) string {
	all := words[0]
	for _, w := range words {
		for !strings.HasPrefix(w, all) {
			all = all[:len(all)-1]
		}
	}
	return all
}

// sought returns the words of a query line that are looked for in texts, in lower case.
func sought(line string) (words []string) {
	for _, w := range strings.Fields(strings.ToLower(line)) {
		if text, ok := strings.CutPrefix(w, "search:"); ok {
			w = text
		}
		if w = strings.Trim(w, `"`); w != "" && !strings.Contains(w, ":") {
			words = append(words, w)
		}
	}
	return words
}
