package listing

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// TestInParts reads listings with parts, some of them empty, both ways and in pages of
// every size: each row once, in the order of the parts.
func TestInParts(t *testing.T) {
	for _, sizes := range [][]int{{3, 4}, {0, 4}, {3, 0}, {0, 0}, {2, 0, 3}, {1, 1, 1}} {
		var parts []Part[string]
		var want []string
		for n, size := range sizes {
			p := Part[string]{Name: "part " + strconv.Itoa(n)}
			p.Source = func(ctx context.Context, to Spot) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for row, err := range numbers(size)(ctx, to) {
						if !yield(p.Cursor(row), err) {
							return
						}
					}
				}
			}
			parts = append(parts, p)
			for row := range p.Source(t.Context(), Spot{Limit: size}) {
				want = append(want, row)
			}
		}
		for _, back := range []bool{false, true} {
			for limit := 1; limit <= len(want)+1; limit++ {
				var got []string
				for to := (Spot{Back: back, Limit: limit}); ; {
					page := 0
					for row := range must.All(InParts(parts...)(t.Context(), to))(t) {
						got = append(got, row)
						page++
					}
					if page < limit {
						break
					}
					to.After = got[len(got)-1]
				}
				if back {
					slices.Reverse(got)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v, back %v, pages of %d: got %q, want %q", sizes, back, limit, got, want)
				}
			}
		}
	}
}

func TestDividers(t *testing.T) {
	part := func(row string) string { return map[byte]string{'n': "never", 'u': "used"}[row[0]] }
	for _, c := range []struct {
		rows []string
		want map[int]string
	}{
		{nil, map[int]string{}},
		{[]string{"n1", "n2", "u1"}, map[int]string{0: "never", 2: "used"}},
		{[]string{"u1", "u2", "n1"}, map[int]string{2: "never"}},
		{[]string{"u1", "u2"}, map[int]string{}},
		{[]string{"x1", "x2"}, map[int]string{}},
	} {
		if got := Dividers(c.rows, part, "used"); !maps.Equal(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.rows, got, c.want)
		}
	}
}
