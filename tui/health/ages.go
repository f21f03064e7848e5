package health

import (
	"context"
	"fmt"
	"strings"

	"gatehouse/server/api"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// ageBounds divide the tokens by their last use. A group has the tokens that were unused
// for its own span, but not for that of the next group.
var ageBounds = [...]struct{ idle, words string }{
	{"", "within 30 days"},
	{"30d", "30 to 90 days ago"},
	{"90d", "90 to 180 days ago"},
	{"180d", "180 days to a year ago"},
	{"365d", "more than a year ago"},
}

// Counter counts tokens. *api.Client is one.
type Counter interface {
	TokenCount(context.Context, api.TokenQuery) (api.Count, error)
}

// CountAges counts the tokens in each group. The last group are the tokens that were never
// used.
func CountAges(ctx context.Context, c Counter) ([]int, error) {
	older := make([]int, len(ageBounds)+1)
	never := 0
	for n, b := range ageBounds {
		f := api.Filters{}
		if b.idle != "" {
			f["idle"] = []string{b.idle}
		}
		all, err := c.TokenCount(ctx, api.TokenQuery{Filters: f})
		if err != nil {
			return nil, err
		}
		f["never-used"] = []string{"true"}
		unused, err := c.TokenCount(ctx, api.TokenQuery{Filters: f})
		if err != nil {
			return nil, err
		}
		older[n] = max(all.Rows-unused.Rows, 0)
		if n == 0 {
			never = unused.Rows
		}
	}
	counts := make([]int, 0, len(older))
	for n := range ageBounds {
		counts = append(counts, max(older[n]-older[n+1], 0))
	}
	return append(counts, never), nil
}

// ages adds a bar a group.
func (r *Report) ages(f *text.Facts) {
	if r.Ages == nil {
		return
	}
	most := 1
	for _, n := range r.Ages {
		most = max(most, n)
	}
	f.Gap()
	f.Lines = append(f.Lines, "   "+r.Paint.Heads("TOKENS BY LAST USE"))
	for n, c := range r.Ages {
		words := "never used"
		if n < len(ageBounds) {
			words = ageBounds[n].words
		}
		room := max(min(f.Width-42, 60), 0)
		bar := room * c / most
		if c > 0 && room > 0 {
			bar = max(bar, 1)
		}
		f.Lines = append(f.Lines, text.Cut(fmt.Sprintf("   %s%s  %s", text.Left(words, 24), text.Right(say.Number(c), 9), strings.Repeat("█", bar)), f.Width))
	}
}
