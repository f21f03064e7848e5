package listing

import (
	"context"
	"iter"
	"slices"
	"strings"
)

// Part is one of the parts of a listing: all its rows stand together.
type Part[T any] struct {
	Name   string
	Source Source[T]
}

// Cursor returns the cursor of a row in the listing that InParts makes, from the one that
// it has in its part.
func (p Part[T]) Cursor(within string) string { return p.Name + " " + within }

// InParts makes one listing of its parts, in their order.
func InParts[T any](parts ...Part[T]) Source[T] {
	return func(ctx context.Context, to Spot) iter.Seq2[T, error] {
		rest := slices.Clone(parts)
		if to.Back {
			slices.Reverse(rest)
		}
		for n, p := range rest {
			if after, ok := strings.CutPrefix(to.After, p.Cursor("")); ok {
				rest, to.After = rest[n:], after
				break
			}
		}
		return func(yield func(T, error) bool) {
			next := to
			for _, p := range rest {
				rows := 0
				for row, err := range p.Source(ctx, next) {
					if rows++; !yield(row, err) || err != nil {
						return
					}
				}
				if next.After = ""; to.Limit > 0 {
					if next.Limit -= rows; next.Limit <= 0 {
						return
					}
				}
			}
		}
	}
}

// Dividers returns the names of the parts by the index of the row where each begins. The
// first row has none if it is in the part plain, or in no part.
func Dividers[T any](rows []T, part func(T) string, plain string) map[int]string {
	out, before := map[int]string{}, plain
	for n, row := range rows {
		name := part(row)
		if name != before && name != "" {
			out[n] = name
		}
		before = name
	}
	return out
}
