package tui

import (
	"context"
	"iter"
	"maps"
	"strings"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/text"
)

// A token that was never used has no time of its last use: in that order it would stand
// among the others by the time it was made. So the listing has two parts.
const (
	neverUsed = "never used"
	wereUsed  = "used"
)

// parted reports whether the listing of a query has the two parts.
func parted(q api.TokenQuery) bool {
	if q.Order != "" && q.Order != api.ByLastUsed || len(q.Filters["never-used"])+len(q.Filters["used-after"]) > 0 {
		return false
	}
	words := " " + strings.ToLower(q.Words)
	return !strings.Contains(words, "never-used") && !strings.Contains(words, " used-after:")
}

// partOf names the part that a token is in.
func partOf(t api.Token) string {
	if t.Used() {
		return wereUsed
	}
	return neverUsed
}

// part returns the query for one part.
func part(q api.TokenQuery, name string) api.TokenQuery {
	q.Filters = maps.Clone(q.Filters)
	if q.Filters == nil {
		q.Filters = api.Filters{}
	}
	if name == neverUsed {
		q.Filters["never-used"] = []string{"true"}
	} else {
		q.Filters["used-after"] = []string{"1970-01-02"}
	}
	return q
}

// inParts reads a stretch of a listing with two parts, those never used first, or with
// reverse last. The cursors begin with the name of the part.
func inParts(ctx context.Context, c client, q api.TokenQuery, to listing.Spot, reverse bool) iter.Seq2[api.Token, error] {
	names := []string{neverUsed, wereUsed}
	if reverse {
		names = []string{wereUsed, neverUsed}
	}
	q.Reverse = reverse
	if after, ok := strings.CutPrefix(to.After, names[1]+" "); ok {
		names, to.After = names[1:], after
	}
	to.After = strings.TrimPrefix(to.After, names[0]+" ")
	return func(yield func(api.Token, error) bool) {
		left, after := to.Limit, to.After
		for _, name := range names {
			p := part(q, name)
			p.After, p.Limit, after = after, left, ""
			for t, err := range c.Tokens(ctx, p) {
				if left--; !yield(t, err) || err != nil {
					return
				}
			}
			if to.Limit > 0 && left <= 0 {
				return
			}
		}
	}
}

// dividers returns what stands above which of the rows: the name of the part where one
// begins and, as long as they show, above those that were never used.
func (t *table[T]) dividers(rows []T) map[int]string {
	if t.part == nil {
		return nil
	}
	out, before := map[int]string{}, wereUsed
	for n, row := range rows {
		name := t.part(row)
		if name != before && name != "" {
			out[n] = name
		}
		before = name
	}
	return out
}

// divider draws one.
func (t *table[T]) divider(name string, width int) string {
	s := "   ── " + name + " "
	return t.m.st.heads.Render(s + strings.Repeat("─", max(min(width, 60)-text.Width(s), 0)))
}
