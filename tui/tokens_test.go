package tui

import (
	"slices"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/listing"
)

// TestNeverUsed pages both ways through real listings with the two parts, and compares
// with all of it: each token once, and those never used together.
func TestNeverUsed(t *testing.T) {
	_, c := real(t, 30, 700)
	for _, words := range []string{"", "idle:90d", "allen", "state:live", "never-used", "used-after:2024-01-01", "nothing-has-this"} {
		var never, used []string
		for tk := range must.All(c.Tokens(t.Context(), api.TokenQuery{Words: words}))(t) {
			if tk.Used() {
				used = append(used, tk.ID)
			} else {
				never = append(never, tk.ID)
			}
		}
		want := slices.Concat(never, used)
		if words == "" && (len(never) < 20 || len(used) < 20) {
			t.Fatalf("there are %d never used and %d used: the test tests nothing", len(never), len(used))
		}
		d := drive(t, unfollowed{c}, Options{})
		s := newTokens(d.model)
		for _, reverse := range []bool{false, true} {
			for _, back := range []bool{false, true} {
				ord, src := s.query(listing.View{Words: words, Reverse: reverse})
				var got []string
				to := listing.Spot{Back: back, Limit: 37}
				for {
					a := listing.Read(t.Context(), src, to)
					if a.Err != nil {
						t.Fatal(a.Err)
					}
					for _, tk := range a.Rows {
						got = append(got, tk.ID)
					}
					if a.End {
						break
					}
					to.After = ord.Cursor(a.Rows[len(a.Rows)-1])
				}
				if reverse != back {
					slices.Reverse(got)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q, reverse %v, back %v: got %d rows, want %d", words, reverse, back, len(got), len(want))
				}
			}
		}
	}
}
