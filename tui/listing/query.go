package listing

import (
	"regexp"
	"slices"
	"strings"

	"gatehouse/server/api"
)

// View says which rows of a listing are shown, and in which order.
type View struct {
	Words   string // the filters
	Order   api.Order
	Reverse bool
}

// Sorted is an order that a listing can have, and its names in both directions.
type Sorted struct {
	Order    api.Order
	Up, Down string
}

// Sorting is the order that a listing has now.
type Sorting struct {
	Sorts   []Sorted // what Next goes through
	nth     int      // of Sorts, the one in use
	Reverse bool
}

// Next goes on to the next order.
func (s *Sorting) Next() { s.nth, s.Reverse = (s.nth+1)%len(s.Sorts), false }

// Changed reports whether the order differs from the first one, ascending.
func (s *Sorting) Changed() bool { return s.nth != 0 || s.Reverse }

func (s *Sorting) String() string {
	switch {
	case len(s.Sorts) == 0:
		return ""
	case s.Reverse:
		return s.Sorts[s.nth].Down
	}
	return s.Sorts[s.nth].Up
}

// View returns what the filters in words select, in this order.
func (s *Sorting) View(words string) View {
	v := View{Words: words, Reverse: s.Reverse}
	if len(s.Sorts) > 0 {
		v.Order = s.Sorts[s.nth].Order
	}
	return v
}

// Complete completes the last word of a query line to a filter, or to a value of one. If
// several would do, it goes as far as they agree, and hint lists them.
func Complete(line string, forms []api.FilterForm) (completed, hint string) {
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

// common returns the beginning that all of the words share.
func common(words []string) string {
	all := words[0]
	for _, w := range words {
		for !strings.HasPrefix(w, all) {
			all = all[:len(all)-1]
		}
	}
	return all
}

// Sought returns the words of a query line that are looked for in texts, in lower case.
func Sought(line string) (words []string) {
	all, _ := api.Words(line)
	for _, w := range all {
		if w.Value != "" && slices.Contains([]string{"", "search", "name", "id"}, w.Name) {
			words = append(words, strings.ToLower(w.Value))
		}
	}
	return words
}

// Filters returns the filters of a query line. A bare word is a search, or a filter that
// takes no value. The server says what is wrong with them.
func Filters(line string, forms []api.FilterForm) api.Filters {
	all := api.Filters{}
	words, _ := api.Words(line)
	for _, w := range words {
		name, value := w.Filter(forms)
		all[name] = append(all[name], value)
	}
	return all
}

// Without returns the filters of a screen without those that the query line sets itself and
// that take one value: what is typed takes their place.
func Without(screen api.Filters, line string, forms []api.FilterForm) api.Filters {
	typed, rest := Filters(line, forms), api.Filters{}
	for name, values := range screen {
		form, _ := formOf(name, forms)
		if _, again := typed[name]; !again || form.Many {
			rest[name] = values
		}
	}
	return rest
}

// Flags returns filters as flags of a command, for a shell. It leaves out those that the
// forms do not have.
func Flags(f api.Filters, forms []api.FilterForm) string {
	out := ""
	for _, form := range forms {
		for _, value := range f[form.Name] {
			if out += " --" + form.Name; form.Value != "" {
				out += " " + quoted(value)
			}
		}
	}
	return out
}

// harmless is what a shell takes as it is.
var harmless = regexp.MustCompile(`^[0-9A-Za-z_@%+=:,./][0-9A-Za-z_@%+=:,./-]*$`)

func quoted(value string) string {
	if harmless.MatchString(value) {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

func formOf(name string, forms []api.FilterForm) (api.FilterForm, bool) {
	n := slices.IndexFunc(forms, func(f api.FilterForm) bool { return f.Name == name })
	if n < 0 {
		return api.FilterForm{}, false
	}
	return forms[n], true
}
