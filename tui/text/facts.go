package text

import "strings"

// Facts are lines of a name and a value each.
type Facts struct {
	Lines []string
	Width int
}

// narrow is the width below which margin and name take less room.
const narrow = 60

// Names returns the margin, and how many columns a name takes.
func (f *Facts) Names() (margin string, columns int) {
	if f.Width < narrow {
		return " ", 12
	}
	return "   ", 14
}

// Add adds a line.
func (f *Facts) Add(name, value string) {
	margin, columns := f.Names()
	f.Lines = append(f.Lines, margin+Left(name, columns)+Cut(value, f.Width-len(margin)-columns))
}

// Head adds a heading.
func (f *Facts) Head(s string) {
	margin, _ := f.Names()
	f.Lines = append(f.Lines, "", margin+s)
}

// Line adds a line as it is, except for its end if it is too long.
func (f *Facts) Line(s string) {
	margin, _ := f.Names()
	f.Lines = append(f.Lines, Cut(margin+s, f.Width))
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
