package revocation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// Arrange puts those in use first, then the latest used; those that were never used are the
// last ones. It counts the tokens in use, unless LookUp did.
func (d *Doomed) Arrange(now time.Time) {
	if len(d.sets) == 0 {
		d.InUse = 0
		for _, t := range d.Tokens {
			if say.InUse(now, t) {
				d.InUse++
			}
		}
	}
	latest := func(t api.Token) int64 {
		if !t.Used() {
			return 0
		}
		return t.LastUsed
	}
	slices.SortFunc(d.Tokens, func(x, y api.Token) int {
		return cmp.Or(cmp.Compare(latest(y), latest(x)), cmp.Compare(x.Created, y.Created), strings.Compare(x.ID, y.ID))
	})
}

// MustType reports whether the number is typed instead of y.
func (d *Doomed) MustType() bool {
	return d.Total > typedAbove || d.InUse > 0 || d.Match != nil
}

// Question asks, with their number if it is known. The number is ahead of the name, which
// may be too long and be cut.
func (d *Doomed) Question(known bool) string {
	n, all := "", ""
	if known && d.Total == 0 {
		return "Nothing to revoke"
	}
	if known {
		n = say.Count(d.Total, "token")
	}
	switch {
	case d.Match != nil:
		all = " " + d.Match.Words
	case len(d.UIDs) == 1:
		all = " of " + text.Escape(d.UIDs[0])
	case len(d.UIDs) > 1:
		all = " of " + say.Count(len(d.UIDs), "user")
	case n == "":
		n = say.Count(len(d.IDs), "token")
	}
	switch {
	case all == "":
		return "Revoke " + n + " for good?"
	case n == "":
		return "Revoke all tokens" + all + " for good?"
	}
	return "Revoke all " + n + all + " for good?"
}

// Spoken says what will die, a token a line, and how many more there are.
func (d *Doomed) Spoken(now time.Time, most int) (out []string) {
	cols := d.columns(now)
	for _, t := range d.Tokens[:min(most, len(d.Tokens))] {
		out = append(out, listing.Spoken(cols, t))
	}
	if more := d.Total - len(out); more > 0 {
		out = append(out, "and "+say.Number(more)+" more")
	}
	return out
}

// Used says how many are in use.
func (d *Doomed) Used() string {
	if d.InUse > mostInUse {
		return "More than " + say.Number(mostInUse)
	}
	return say.Number(d.InUse)
}

func (d *Doomed) columns(now time.Time) []listing.Column[api.Token] {
	cols := []listing.Column[api.Token]{
		{Head: "LAST USED", Min: 12, Max: 12, Cell: func(t api.Token) string { return say.Used(now, t) }},
		{Head: "", Min: 6, Max: 6, Cell: func(t api.Token) string {
			if say.InUse(now, t) {
				return "IN USE"
			}
			return ""
		}},
		{Head: "ID", Min: 10, Max: 28, Late: true, Whole: true, Cell: func(t api.Token) string { return t.ID }},
		{Head: "NAME", Min: 8, Max: 32, Cell: func(t api.Token) string { return say.Dash(t.Name) }},
		{Head: "FROM", Min: 10, Max: 39, Cell: func(t api.Token) string { return say.Dash(t.LastAddress) }},
		{Head: "USER", Min: 16, Max: 48, Cell: func(t api.Token) string { return t.UID }},
	}
	if d.InUse == 0 {
		cols = slices.Delete(cols, 1, 2)
	}
	return cols
}

// Lines shows what will die in at most height lines.
func (d *Doomed) Lines(now time.Time, width, height int, heads, warn func(...string) string) []string {
	cols := d.columns(now)
	w := listing.Widths(cols, width)
	shown := d.Tokens
	if len(shown) > height-1 {
		shown = shown[:max(height-2, 0)]
	}
	out := []string{heads(listing.Heads(cols, w))}
	for _, t := range shown {
		s := listing.Line(cols, w, t, listing.Signs{}, nil)
		if say.InUse(now, t) {
			s = warn(s)
		}
		out = append(out, s)
	}
	if more := d.Total - len(shown); more > 0 {
		out = append(out, fmt.Sprintf("     … and %s more", say.Number(more)))
	}
	return out
}
