package order

import (
	"testing"

	"gatehouse/storage/table"
)

// TestRestsWithoutFinds: a walk lets others have the processor also where it picks nothing.
func TestRestsWithoutFinds(t *testing.T) {
	v := New(table.New(), nil, func(byte) bool { return true }, func(byte) int64 { return 0 }, nil)
	for name, walk := range map[string]func(*question) error{
		"table": (*question).inTable,
		"facts": func(q *question) error { return q.inMemory(new(facts)) },
	} {
		q := &question{sieve: new(Sieve), to: new(selection), judge: judge{views: v, match: new(Match)}}
		if err := walk(q); err != nil || q.began.IsZero() {
			t.Errorf("%s: %v, rested: %t", name, err, !q.began.IsZero())
		}
	}
}
