package audit_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/audit"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

const token = "01000000000000000000000000ab"

// logOf makes a log of events in segments of 64 KiB.
func logOf(t *testing.T, events func(add func(record.Event), j *journal.Journal)) audit.Log {
	t.Helper()
	j := must.Get(journal.Open(t.TempDir(), [32]byte{1}, journal.Options{Create: true, SegmentSize: 64 << 10}))(t)
	t.Cleanup(func() { j.Close() })
	events(func(e record.Event) {
		b := must.Get(record.Entry{Event: e}.AppendPayload(nil))(t)
		must.Get(j.Append(journal.Essential, []journal.Entry{{Payload: b}}))(t)
	}, j)
	return audit.Of(j)
}

// TestRecentGoesOn: one search goes back a limited number of segments and says
// where to go on. Several searches in a row find the same as one reading of
// everything.
func TestRecentGoesOn(t *testing.T) {
	const oneLook = 16 // segments
	l := logOf(t, func(add func(record.Event), j *journal.Journal) {
		add(record.Event{Action: record.ActionTokenCreate, Token: token})
		noise := strings.Repeat("x", 8<<10)
		for len(j.Segments()) < 3*oneLook {
			for range 2 {
				add(record.Event{Action: "token.rename", UID: "alice@example.com", Token: token})
			}
			for range 40 { // about something else
				add(record.Event{Action: "login", Detail: noise})
			}
		}
	})
	all := audit.About{Token: token}
	var want []uint64
	for e := range must.All(l.Events(t.Context(), 0))(t) {
		if all.Is(e) {
			want = append(want, e.Sequence)
		}
	}
	for _, c := range []struct {
		name  string
		most  int
		looks int // at least this many
	}{{"as far as one look goes", 1000, 3}, {"a page at a time", 2, len(want) / 2}, {"one at a time", 1, len(want)}} {
		t.Run(c.name, func(t *testing.T) {
			got, looks := walk(t, l, audit.Search{About: all, Most: c.most})
			if !slices.Equal(got, want) || looks < c.looks {
				t.Errorf("got %d in %d looks %v\nwant %d in %d or more %v", len(got), looks, got, len(want), c.looks, want)
			}
		})
	}
	t.Run("after", func(t *testing.T) {
		got, _ := walk(t, l, audit.Search{About: all, Most: 3, After: want[4]})
		if !slices.Equal(got, want[5:]) {
			t.Errorf("got %v, want %v", got, want[5:])
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if got, looks := walk(t, l, audit.Search{About: audit.About{UID: "nobody@example.com"}, Most: 3}); len(got) != 0 || looks < 3 {
			t.Errorf("got %v in %d looks, want nothing in three or more", got, looks)
		}
	})
}

// walk searches until nothing is left.
func walk(t *testing.T, l audit.Log, q audit.Search) (found []uint64, looks int) {
	t.Helper()
	for {
		f := must.Get(l.Recent(context.Background(), q))(t)
		looks++
		part := []uint64{}
		for _, e := range f.Events {
			part = append(part, e.Sequence)
		}
		found = append(part, found...)
		if f.Rest == 0 {
			if f.Since != 0 {
				t.Errorf("since %d, and nothing is left", f.Since)
			}
			return found, looks
		}
		if f.Since == 0 || q.Before > 0 && f.Rest >= q.Before {
			t.Fatalf("before %d: got rest %d since %d", q.Before, f.Rest, f.Since)
		}
		q.Before = f.Rest
	}
}
