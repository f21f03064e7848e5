package storage

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// TestRecentEventsGoOn: one look goes back historySegments, says so, and where
// to go on; looks one after the other find what a reading of all finds.
func TestRecentEventsGoOn(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Segment: 64 << 10, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	u := addUser(t, s, "alice@example.com")
	id, _ := create(t, s, u)
	noise := strings.Repeat("x", 8<<10)
	for len(s.journal.Segments()) < 3*historySegments {
		if err := s.RenameToken(admin, id, "busy"); err != nil {
			t.Fatal(err)
		}
		if err := s.RenameToken(admin, id, "idle"); err != nil {
			t.Fatal(err)
		}
		for range 40 { // about something else
			if err := s.change(admin, func(t *tx) error { t.event(Event{Action: ActionLogin, Detail: noise}); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := About{Token: id.String()}
	var want []uint64
	for e, err := range s.Events(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		if all.Is(e) {
			want = append(want, e.Sequence)
		}
	}
	for _, c := range []struct {
		name  string
		most  int
		looks int // at least
	}{{"as far as one look goes", 1000, 3}, {"a page at a time", 2, len(want) / 2}, {"one at a time", 1, len(want)}} {
		t.Run(c.name, func(t *testing.T) {
			got, looks := walk(t, s, Search{About: all, Most: c.most})
			if !slices.Equal(got, want) || looks < c.looks {
				t.Errorf("got %d in %d looks %v\nwant %d in %d or more %v", len(got), looks, got, len(want), c.looks, want)
			}
		})
	}
	t.Run("after", func(t *testing.T) {
		got, _ := walk(t, s, Search{About: all, Most: 3, After: want[4]})
		if !slices.Equal(got, want[5:]) {
			t.Errorf("got %v, want %v", got, want[5:])
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if got, looks := walk(t, s, Search{About: About{UID: "nobody@example.com"}, Most: 3}); len(got) != 0 || looks < 3 {
			t.Errorf("got %v in %d looks, want nothing in three or more", got, looks)
		}
	})
}

// walk looks until nothing is left.
func walk(t *testing.T, s *Store, q Search) (found []uint64, looks int) {
	t.Helper()
	for {
		f, err := s.RecentEvents(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
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
