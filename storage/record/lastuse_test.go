package record_test

import (
	"testing"

	"gatehouse/storage/record"
)

// TestLater: a use is later than the creation, even if a wrong clock gave them other times.
func TestLater(t *testing.T) {
	for _, c := range []struct{ a, b, want record.LastUse }{
		{record.UsedAt(5), record.UsedAt(7), record.UsedAt(7)},
		{record.CreatedAt(5), record.CreatedAt(7), record.CreatedAt(7)},
		{record.CreatedAt(5), record.UsedAt(5), record.UsedAt(5)},
		{record.CreatedAt(9), record.UsedAt(5), record.UsedAt(5)},
		{0, record.UsedAt(5), record.UsedAt(5)},
	} {
		if got, back := c.a.Later(c.b), c.b.Later(c.a); got != c.want || back != c.want {
			t.Errorf("%v and %v: got %v and %v, want %v", c.a, c.b, got, back, c.want)
		}
	}
}
