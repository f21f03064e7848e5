package health

import (
	"context"
	"fmt"
	"strings"

	"gatehouse/server/api"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// bound divides tokens by a span, and names the group that it begins, or ends.
type bound struct{ span, words string }

// ageBounds divide the tokens by their last use. A group has the tokens that were unused
// for its own span, but not for that of the next group.
var ageBounds = []bound{
	{"", "within 30 days"},
	{"30d", "30 to 90 days"},
	{"90d", "90 to 180 days"},
	{"180d", "180 days to a year"},
	{"365d", "more than a year"},
}

// endBounds divide the tokens that work by their end. A group has the tokens that end
// within its own span, but not within that of the group before.
var endBounds = []bound{
	{"1d", "within a day"},
	{"7d", "1 to 7 days"},
	{"30d", "7 to 30 days"},
	{"90d", "30 to 90 days"},
	{"365d", "90 days to a year"},
	{"36500d", "later"},
}

// Counter counts tokens. *api.Client is one.
type Counter interface {
	TokenCount(context.Context, api.TokenQuery) (api.Count, error)
}

// Counts are how many tokens there are in each group.
type Counts struct {
	Ages []int // by ageBounds, and those that were never used
	Ends []int // by endBounds, and those that never end
}

// Count counts the tokens in each group.
func Count(ctx context.Context, c Counter) (*Counts, error) {
	ages, err := countAges(ctx, c)
	if err != nil {
		return nil, err
	}
	ends, err := countEnds(ctx, c)
	return &Counts{ages, ends}, err
}

func rows(ctx context.Context, c Counter, pairs ...string) (int, error) {
	n, err := c.TokenCount(ctx, api.TokenQuery{Filters: api.Where(pairs...)})
	return n.Rows, err
}

func countAges(ctx context.Context, c Counter) ([]int, error) {
	older := make([]int, len(ageBounds)+1)
	never := 0
	for n, b := range ageBounds {
		var idle []string
		if b.span != "" {
			idle = []string{"idle", b.span}
		}
		all, err := rows(ctx, c, idle...)
		if err != nil {
			return nil, err
		}
		unused, err := rows(ctx, c, append(idle, "never-used", "true")...)
		if err != nil {
			return nil, err
		}
		older[n] = max(all-unused, 0)
		if n == 0 {
			never = unused
		}
	}
	counts := make([]int, 0, len(older))
	for n := range ageBounds {
		counts = append(counts, max(older[n]-older[n+1], 0))
	}
	return append(counts, never), nil
}

func countEnds(ctx context.Context, c Counter) ([]int, error) {
	var counts []int
	before := 0
	for _, b := range endBounds {
		n, err := rows(ctx, c, "expires-within", b.span)
		if err != nil {
			return nil, err
		}
		counts = append(counts, max(n-before, 0))
		before = n
	}
	live, err := rows(ctx, c, "state", api.StateLive)
	return append(counts, max(live-before, 0)), err
}

// histogram draws a bar a group.
func histogram(head string, groups []bound, last string, counts []int, width int) []string {
	out := []string{"   " + head}
	most := 1
	for _, n := range counts {
		most = max(most, n)
	}
	for n, c := range counts {
		words := last
		if n < len(groups) {
			words = groups[n].words
		}
		room := max(min(width-42, 60), 0)
		bar := room * c / most
		if c > 0 && room > 0 {
			bar = max(bar, 1)
		}
		out = append(out, text.Cut(strings.TrimRight(fmt.Sprintf("   %s%s  %s", text.Left(words, 24), text.Right(say.Number(c), 9), strings.Repeat("█", bar)), " "), width))
	}
	return out
}
