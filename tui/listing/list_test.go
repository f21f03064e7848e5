package listing

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// still is a host with a clock that stands still.
type still struct{ ctx context.Context }

func (h still) Context() context.Context             { return h.ctx }
func (h still) Now() time.Time                       { return time.Unix(0, 0) }
func (h still) Later(time.Duration, tea.Msg) tea.Cmd { return nil }

// numbers is a listing of the numbers from 1 to n, each a word of six digits.
func numbers(n int) Source[string] {
	return func(_ context.Context, to Spot) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			at, step := 1, 1
			if to.Back {
				at, step = n, -1
			}
			if to.After != "" {
				fmt.Sscan(strings.TrimLeft(to.After, "0"), &at)
				at += step
			}
			for i := 0; i < to.Limit && at >= 1 && at <= n; i, at = i+1, at+step {
				if !yield(fmt.Sprintf("%06d", at), nil) {
					return
				}
			}
		}
	}
}

// answers runs the commands, and returns the answers.
func answers(cmd tea.Cmd) (as []Answer[string]) {
	if cmd == nil {
		return nil
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, c := range msg {
			as = append(as, answers(c)...)
		}
	case Answer[string]:
		as = append(as, msg)
	}
	return as
}

// settle gives the list the answers to all its questions.
func settle(l *List[string], cmd tea.Cmd) {
	for _, a := range answers(cmd) {
		next, _ := l.Take(a)
		settle(l, next)
	}
}

func newNumbers(t *testing.T, n int) *List[string] {
	word := func(s string) string { return s }
	l := New(still{t.Context()}, 1, Order[string]{ID: word, Cursor: word}, numbers(n))
	settle(&l, l.Refresh())
	l.Visible(10)
	return &l
}

// TestMovesThatWait: moves made before the rows are there lead to the same row as later.
func TestMovesThatWait(t *testing.T) {
	l := newNumbers(t, 5000)
	for _, c := range []struct {
		name string
		cmd  func() tea.Cmd
		want string
	}{
		{"beyond the window", func() tea.Cmd { return l.Move(3000) }, "003001"},
		{"and back", func() tea.Cmd { return l.Move(-2990) }, "000011"},
		{"the end", l.Bottom, "005000"},
		{"beyond the end", func() tea.Cmd { return l.Move(7) }, "005000"},
		{"from there", func() tea.Cmd { return l.Move(-1500) }, "003500"},
		{"a page", func() tea.Cmd { return l.Page(1) }, "003509"},
		{"the start", l.Home, "000001"},
		{"beyond the start", func() tea.Cmd { return l.Move(-7) }, "000001"},
	} {
		settle(l, c.cmd())
		if got, _ := l.Current(); got != c.want || !l.Settled() || len(l.Rows()) > WindowRows {
			t.Errorf("%s: at %s with %d rows, want %s", c.name, got, len(l.Rows()), c.want)
		}
		l.Visible(10)
	}
}

// TestLateAnswer: an answer to an older question changes nothing.
func TestLateAnswer(t *testing.T) {
	l := newNumbers(t, 300)
	older := answers(l.Refresh())
	newer := answers(l.Restart(l.ord, numbers(7)))
	if _, ok := l.Take(newer[0]); !ok {
		t.Fatal("the answer to the latest question is dropped")
	}
	if _, ok := l.Take(older[0]); ok || len(l.Rows()) != 7 || !l.Whole() {
		t.Errorf("%v: the older answer is taken, with %d rows", ok, len(l.Rows()))
	}
}

func TestPrepend(t *testing.T) {
	l := newNumbers(t, 50)
	l.Move(3)
	l.Prepend([]string{"new", "000002"})
	if got, _ := l.Current(); got != "000004" || len(l.Rows()) != 51 {
		t.Errorf("the cursor is on %s of %d rows", got, len(l.Rows()))
	}
	if from, to, ok := l.Shown(51, true); !ok || from != 2 || to != 11 {
		t.Errorf("rows %d to %d are shown (%v)", from, to, ok)
	}
}
