package text

import "strings"

// Facts are lines of a name and a value each.
type Facts struct {
	Lines []string
	Width int
}

// FactName is how many columns the margin and the name take.
const FactName = 17

// Add adds a line.
func (f *Facts) Add(name, value string) {
	f.Lines = append(f.Lines, "   "+Left(name, FactName-3)+Cut(value, f.Width-FactName))
}

// Several adds a line a value, the first with the name.
func (f *Facts) Several(name, none string, values []string) {
	if len(values) == 0 {
		f.Add(name, none)
		return
	}
	for i, v := range values {
		f.Add(strings.Repeat(name, 1-min(i, 1)), v)
	}
}

// Gap adds an empty line.
func (f *Facts) Gap() { f.Lines = append(f.Lines, "") }
