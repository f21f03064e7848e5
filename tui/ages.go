package tui

import (
	"context"
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// agesEvery is how often the tokens are counted by their last use.
const agesEvery = time.Minute

// ageBounds divide the tokens by their last use. A group has the tokens that were unused
// for its own span, but not for that of the next group.
var ageBounds = [...]struct{ idle, words string }{
	{"", "within 30 days"},
	{"30d", "30 to 90 days ago"},
	{"90d", "90 to 180 days ago"},
	{"180d", "180 days to a year ago"},
	{"365d", "more than a year ago"},
}

// ages is how many tokens were last used how long ago.
type ages struct {
	seq    int
	asked  bool
	at     time.Time
	counts []int // by ageBounds, and then the tokens that were never used; nil: not known
}

type agesMsg struct {
	seq    int
	counts []int
	err    error
}

func (a *ages) ask(m *model) tea.Cmd {
	if a.asked || m.now().Sub(a.at) < agesEvery {
		return nil
	}
	a.seq++
	a.asked, a.at = true, m.now()
	c, ctx, msg := m.client, m.ctx, agesMsg{seq: a.seq}
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, listing.Patience)
		defer cancel()
		msg.counts, msg.err = countAges(ctx, c)
		return msg
	}
}

// countAges counts the tokens unused for at least each span, and those never used, which
// are a group of their own.
func countAges(ctx context.Context, c client) ([]int, error) {
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

func (a *ages) stop() { a.seq++; a.asked = false }

func (a *ages) take(msg tea.Msg) {
	if m, ok := msg.(agesMsg); ok && m.seq == a.seq {
		a.asked = false
		if m.err == nil { // the status reports what fails
			a.counts = m.counts
		}
	}
}

// draw adds a bar a group.
func (a *ages) draw(f *facts, m *model) {
	if a.counts == nil {
		return
	}
	most := 1
	for _, n := range a.counts {
		most = max(most, n)
	}
	f.gap()
	f.lines = append(f.lines, "   "+m.st.heads.Render("TOKENS BY LAST USE"))
	for n, c := range a.counts {
		words := "never used"
		if n < len(ageBounds) {
			words = ageBounds[n].words
		}
		room := max(min(f.width-42, 60), 0)
		bar := room * c / most
		if c > 0 && room > 0 {
			bar = max(bar, 1)
		}
		f.lines = append(f.lines, text.Cut(fmt.Sprintf("   %s%s  %s", text.Left(words, 24), text.Right(say.Number(c), 9), strings.Repeat("█", bar)), f.width))
	}
}
