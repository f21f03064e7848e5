package tui

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/exp/teatest"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/listing"
	"gatehouse/tui/trail"
)

// TestTrail pages through a real audit log both ways, with a filter and
// without, and compares with all of it.
func TestTrail(t *testing.T) {
	store, c := real(t, 40, 30)
	for i, uid := range []string{"zoe@example.com", "zack@example.com"} {
		if _, err := store.AddUser(storage.Actor{Name: "root"}, uid, "", ""); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, prefix := range []string{"", "z", "token.create", "nothing at all", "by:root action:user", "about:zoe@example.com"} {
		for _, reverse := range []bool{false, true} {
			var want []uint64
			for e := range must.All(c.Events(t.Context(), api.EventQuery{}))(t) {
				if trail.Parse(prefix, nil).Has(e) && (prefix != "about:zoe@example.com" || e.UID == "zoe@example.com") && (prefix != "by:root action:user" || e.Actor == "root" && e.Action == "user.add") {
					want = append(want, e.Sequence)
				}
			}
			src := func(ctx context.Context, to listing.Spot) iter.Seq2[api.Event, error] {
				return trail.Parse(prefix, nil).Page(ctx, c, reverse, to)
			}
			for _, back := range []bool{false, true} {
				if reverse == back {
					slices.Reverse(want)
				}
				var got []uint64
				to := listing.Spot{Back: back, Limit: 7}
				for {
					a := listing.Read(t.Context(), src, to)
					if a.Err != nil {
						t.Fatal(a.Err)
					}
					for _, e := range a.Rows {
						got = append(got, e.Sequence)
					}
					if a.End {
						break
					}
					to.After = strconv.FormatUint(got[len(got)-1], 10)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q, reverse %v, back %v: got %d events %v\nwant %d %v", prefix, reverse, back, len(got), got, len(want), want)
				}
				if reverse == back {
					slices.Reverse(want)
				}
			}
		}
	}
}

// TestEventsComeLive runs the program at a real audit log.
func TestEventsComeLive(t *testing.T) {
	store, c := real(t, 3, 3)
	d := drive(t, people(), Options{})
	m := newModel(t.Context(), c, Options{Now: func() time.Time { return noon }}, d.st)
	tm := teatest.NewTestModel(t, m, teatest.WithInitialTermSize(100, 30))
	until := func(s string) {
		t.Helper()
		teatest.WaitFor(t, tm.Output(), func(b []byte) bool { return bytes.Contains(b, []byte(s)) }, teatest.WithDuration(enough))
	}
	tm.Type("4")
	until("live")
	if _, err := store.AddUser(storage.Actor{Name: "root"}, "new@x.org", "", ""); err != nil {
		t.Fatal(err)
	}
	until("new@x.org")
	for i := range 40 { // more than a screen
		if _, err := store.AddUser(storage.Actor{Name: "root"}, fmt.Sprintf("u%d@x.org", i), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	until("u39@x.org")
	tm.Type("p")
	until("PAUSED")
	if _, err := store.AddUser(storage.Actor{Name: "root"}, "missed@x.org", "", ""); err != nil {
		t.Fatal(err)
	}
	tm.Type("p")
	until("missed@x.org")
	tm.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("q")})
	tm.WaitFinished(t, teatest.WithFinalTimeout(enough))
}

// TestEventFilters types filters at a real audit log: what is wrong with one stands under
// the line, and what comes later is filtered too.
func TestEventFilters(t *testing.T) {
	store, c := real(t, 3, 4)
	add := func(actor, uid string) {
		t.Helper()
		if _, err := store.AddUser(storage.Actor{Name: actor}, uid, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	add("root", "one@x.org")
	add("carol", "two@x.org")
	d := drive(t, unfollowed{c}, Options{})
	d.press("4/by:root action:user")
	d.want("one@x.org", "user.add")
	d.wantNot("two@x.org")
	add("root", "three@x.org")
	add("carol", "four@x.org")
	d.press("<enter>r")
	d.want("three@x.org")
	d.wantNot("four@x.org")
	d.press("<esc>/since:nonsense")
	d.want(`! since: "nonsense" is not a time`)
	d.press("<esc>/sin<tab>")
	d.want("/ since:_")
	d.press("<esc>/about:two@x.org")
	d.want("two@x.org")
	d.wantNot("one@x.org")
}
