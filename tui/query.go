package tui

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

func (t *table[T]) edit()           { t.editing = true }
func (t *table[T]) filtering() bool { return t.editing }
func (t *table[T]) filtered() bool  { return t.filter.Value != "" }

// filterKey takes a key while the filter is edited.
func (t *table[T]) filterKey(k key) tea.Cmd {
	switch k.Name {
	case "enter":
		t.editing = false
		return nil
	case "esc":
		t.editing = false
		return t.clearFilter()
	case "up":
		return t.move(-1)
	case "down":
		return t.move(1)
	case "pgup":
		return t.page(-1)
	case "pgdown":
		return t.page(1)
	case "tab":
		t.filter.Value, t.hint = listing.Complete(t.filter.Value, t.forms)
		return t.ask()
	}
	if !t.filter.Key(k.Name, k.Text) {
		return nil
	}
	t.hint = ""
	return t.ask()
}

func (t *table[T]) clearFilter() tea.Cmd {
	t.hint = ""
	if t.filter.Value == "" {
		return nil
	}
	t.filter.Value = ""
	return t.ask()
}

// filterLine shows the filter, and what of the listing is on the screen.
func (t *table[T]) filterLine(width int) string {
	left := ""
	if t.editing || t.filter.Value != "" {
		left = " / "
	}
	right := t.position(width - text.Width(left) - min(text.Width(t.filter.Value)+4, width/3))
	room := width - text.Width(right) - 6 // ends where the rows do
	if left == "" {
		return strings.Repeat(" ", max(room+5, 0)) + right
	}
	return left + text.Left(t.filter.View(room, t.editing), room) + "  " + right
}

// position says in at most width columns how many rows there are, which of them show,
// and in which order.
func (t *table[T]) position(width int) string {
	var parts []string
	total, known := t.total()
	switch n := len(t.list.Rows()); {
	case t.list.Another():
		if sign, slow := t.spin(); slow {
			return text.Cut(sign+" loading: the rows are those of the question before", max(width, 0))
		}
	case t.list.Starting():
	case known && t.filter.Value != "":
		parts = append(parts, say.Count(total, t.noun)+" "+matches(total))
	case known:
		parts = append(parts, say.Count(total, t.noun))
	case t.count == nil && n > 0:
		parts = append(parts, "more than "+say.Number(n))
	}
	if from, to, ok := t.shown(); ok {
		parts = append(parts, "rows "+say.Number(from)+"-"+say.Number(to))
	}
	parts = append(parts, t.Sorting.String())
	for len(parts) > 1 && text.Width(strings.Join(parts, " · ")) > width {
		parts = parts[:len(parts)-1]
	}
	return text.Cut(strings.Join(parts, " · "), max(width, 0))
}

func matches(n int) string {
	if n == 1 {
		return "matches"
	}
	return "match"
}

// total is how many rows the listing has.
func (t *table[T]) total() (n int, known bool) {
	switch {
	case t.list.Starting(), t.list.Err() != nil:
		return 0, false
	case t.list.Whole():
		return len(t.list.Rows()), true
	}
	return t.rows, t.known
}

// shown returns the first and the last row on the screen, from 1.
func (t *table[T]) shown() (from, to int, ok bool) { return t.list.Shown(t.total()) }

// thumb returns which lines of the scroll bar stand for what is shown, of height lines.
func (t *table[T]) thumb(height int) (from, to int, ok bool) {
	first, last, shown := t.shown()
	total, known := t.total()
	if !shown || !known || total <= height || height < 1 {
		return 0, 0, false
	}
	size := max(height*(last-first+1)/total, 1)
	from = min((height-size)*(first-1)/max(total-height, 1), height-size)
	return from, from + size, true
}

// misread reports whether the server found something wrong with the filter.
func (t *table[T]) misread() bool {
	return t.filter.Value != "" && api.Refused(t.list.Err(), http.StatusBadRequest)
}

// remark returns what to say about the filter, under it: what is wrong with it, or how
// its last word may continue.
func (t *table[T]) remark(width int) (out []string) {
	if t.misread() {
		for n, l := range strings.Split(ansi.Wrap(say.Error(t.list.Err()), max(width-6, 20), ""), "\n") {
			out = append(out, t.m.st.warn.Render([]string{"   ! ", "     "}[min(n, 1)]+l))
		}
		return out[:min(len(out), remarkMost)]
	}
	if t.editing && t.hint != "" {
		return []string{t.m.st.heads.Render("   " + t.hint)}
	}
	if n := t.replaced(); len(n) > 0 {
		return []string{t.m.st.heads.Render("   in place of " + strings.Join(n, " "))}
	}
	return nil
}

// replaced returns the filters of the screen that the query line replaces by others.
func (t *table[T]) replaced() (names []string) {
	typed, rest := listing.Filters(t.filter.Value, t.forms), listing.Without(t.given(), t.filter.Value, t.forms)
	for name, values := range t.given() {
		if rest[name] == nil && !slices.Equal(typed[name], values) {
			names = append(names, name+":"+strings.Join(values, ","))
		}
	}
	slices.Sort(names)
	return names
}

// none returns what to say when nothing matches; narrowed, unless the query line replaces
// what that is about.
func (t *table[T]) none(narrowed string) string {
	if len(t.replaced()) > 0 {
		return "No " + t.noun + " matches"
	}
	return narrowed
}

// flags returns the filters of the screen and of the query line as those of a command, and
// whether there are flags that select the same.
func (t *table[T]) flags() (string, bool) {
	all := listing.Filters(t.filter.Value, t.forms)
	for name, values := range all {
		switch {
		case !slices.ContainsFunc(t.forms, func(f api.FilterForm) bool { return f.Name == name }):
			return "", false // words of a listing that no command searches
		case name != "user" && name != "owner":
		case slices.ContainsFunc(values, func(uid string) bool { return !strings.Contains(uid, "@") }):
			return "", false // the beginning of a uid: a flag takes a whole one
		}
	}
	for name, values := range listing.Without(t.given(), t.filter.Value, t.forms) {
		all[name] = append(slices.Clone(values), all[name]...)
	}
	flags := listing.Flags(all, t.forms)
	shown := text.Escape(flags)
	if t.m.o.ASCII {
		shown = text.ASCII(shown)
	}
	return flags, shown == flags // else it is not shown as it is, and can't be copied
}

// twin returns the command that lists the same; empty: there is none.
func (t *table[T]) twin() string {
	flags, ok := t.flags()
	if !ok {
		return ""
	}
	out := "gatehouse " + t.command + flags
	if v := t.view(); v.Order != "" && t.Changed() {
		out += " --sort " + strings.Repeat("-", btoi(v.Reverse)) + string(v.Order)
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// nowhere is the given filters of a screen that lists all.
func nowhere() api.Filters { return nil }

// remarkMost is how many lines what is wrong with a filter may take.
const remarkMost = 4

func (t *table[T]) view() listing.View { return t.View(t.filter.Value) }

// sort and turn ask for the listing in the next order, or in the reverse one. Marks
// stay: they are of rows, not of places.
func (t *table[T]) sort() tea.Cmd {
	if len(t.Sorts) < 2 {
		return nil
	}
	t.Next()
	return t.ask()
}

func (t *table[T]) turn() tea.Cmd {
	t.Reverse = !t.Reverse
	return t.ask()
}

// tally is how many rows a listing has.
type tally struct {
	id       int                                                         // of its answers
	count    func(listing.View) func(context.Context) (api.Count, error) // nil: the server does not count these
	rows     int                                                         // if known
	known    bool
	seq      int  // of the latest question
	counting bool // it is open
	cancel   context.CancelFunc
	counted  time.Time // when the latest answer came
	took     time.Duration
}

// countMsg is the answer to a count.
type countMsg struct {
	id, seq int
	rows    int
	err     error
	took    time.Duration
}

// forget drops the count, and the answer to an open question when it comes.
func (c *tally) forget() {
	if c.cancel != nil {
		c.cancel()
	}
	c.seq++
	c.known, c.counting, c.counted = false, false, time.Time{}
}

// ask asks the server to count, unless it is asked already, or a count that took long has
// only just come.
func (c *tally) ask(m *model, v listing.View) tea.Cmd {
	if c.count == nil || c.counting || m.now().Sub(c.counted) < listing.RestFactor*c.took {
		return nil
	}
	ctx, cancel := context.WithTimeout(m.ctx, listing.Patience)
	c.counting, c.cancel = true, cancel
	id, seq, count, now := c.id, c.seq, c.count(v), m.now
	return func() tea.Msg {
		defer cancel()
		start := now()
		n, err := count(ctx)
		return countMsg{id, seq, n.Rows, err, now().Sub(start)}
	}
}

// take takes the answer, if it is to the latest question.
func (c *tally) take(now time.Time, msg countMsg) {
	if msg.id != c.id || msg.seq != c.seq {
		return
	}
	c.counting, c.counted = false, now
	if msg.err == nil { // the listing reports what fails
		c.rows, c.known = msg.rows, true
	}
	c.took = msg.took
}
