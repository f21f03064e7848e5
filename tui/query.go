package tui

import (
	"context"
	"net/http"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// roomy is the height from which on a body shows the line of the filter even when that
// is empty.
const roomy = 10

func (t *table[T]) edit()           { t.editing = true }
func (t *table[T]) filtering() bool { return t.editing }
func (t *table[T]) filtered() bool  { return t.filter.value != "" }

// filterKey takes a key while the filter is edited.
func (t *table[T]) filterKey(k key) tea.Cmd {
	switch k.name {
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
		t.filter.value, t.hint = complete(t.filter.value, t.forms)
		return t.ask()
	}
	if !t.filter.key(k) {
		return nil
	}
	t.hint = ""
	return t.ask()
}

func (t *table[T]) clearFilter() tea.Cmd {
	t.hint = ""
	if t.filter.value == "" {
		return nil
	}
	t.filter.value = ""
	return t.ask()
}

// filterLine shows the filter, and what of the listing is on the screen.
func (t *table[T]) filterLine(width int) string {
	left := ""
	if t.editing || t.filter.value != "" {
		left = " / "
	}
	right := t.position(width - text.Width(left) - min(text.Width(t.filter.value)+4, width/3))
	room := width - text.Width(right) - 5
	if left == "" {
		return strings.Repeat(" ", max(room+3, 0)) + right
	}
	return left + text.Left(t.filter.view(room, t.editing), room) + "  " + right
}

// position says in at most width columns how many rows there are, which of them show,
// and in which order.
func (t *table[T]) position(width int) string {
	var parts []string
	total, known := t.total()
	switch n := len(t.list.win.rows); {
	case t.list.asked == first:
	case known && t.filter.value != "":
		parts = append(parts, count(total, t.noun)+" "+matches(total))
	case known:
		parts = append(parts, count(total, t.noun))
	case t.count == nil && n > 0:
		parts = append(parts, "more than "+number(n))
	}
	if from, to, ok := t.shown(); ok {
		parts = append(parts, "rows "+number(from)+"-"+number(to))
	}
	parts = append(parts, t.sorting.String())
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
	case t.list.asked == first, t.list.err != nil:
		return 0, false
	case t.list.win.whole():
		return len(t.list.win.rows), true
	}
	return t.rows, t.known
}

// shown returns the first and the last row on the screen, from 1.
func (t *table[T]) shown() (from, to int, ok bool) {
	l := &t.list
	before := l.win.from
	total, known := t.total()
	if before < 0 { // the window was filled from the end
		before = total - len(l.win.rows)
	}
	n := min(l.height, len(l.win.rows)-l.top)
	if n < 1 || l.asked == first || !known && l.win.from < 0 || before < 0 {
		return 0, 0, false
	}
	return before + l.top + 1, before + l.top + n, true
}

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
	return t.filter.value != "" && refused(t.list.err, http.StatusBadRequest)
}

// remark is what is to be said of the filter, under it: what is wrong with it, or how its
// last word may go on.
func (t *table[T]) remark() []string {
	if t.misread() {
		return []string{t.m.st.warn.Render("   ! " + explain(t.list.err))}
	}
	if t.editing && t.hint != "" {
		return []string{t.m.st.heads.Render("   " + t.hint)}
	}
	return nil
}

// view is what of a listing is shown, and in which order.
type view struct {
	words   string // the filters
	order   api.Order
	reverse bool
}

// sorted is an order that a listing can have, and its names in both directions.
type sorted struct {
	order    api.Order
	up, down string
}

// sorting is the order that a listing has now.
type sorting struct {
	sorts   []sorted // what s goes through
	nth     int      // of sorts, the one in use
	reverse bool
}

// advance goes on to the next order.
func (s *sorting) advance() { s.nth, s.reverse = (s.nth+1)%len(s.sorts), false }

// changed reports whether the order differs from the first one, ascending.
func (s *sorting) changed() bool { return s.nth != 0 || s.reverse }

func (s *sorting) String() string {
	switch {
	case len(s.sorts) == 0:
		return ""
	case s.reverse:
		return s.sorts[s.nth].down
	}
	return s.sorts[s.nth].up
}

func (t *table[T]) view() view {
	v := view{words: t.filter.value, reverse: t.reverse}
	if len(t.sorts) > 0 {
		v.order = t.sorts[t.nth].order
	}
	return v
}

// sort and turn ask for the listing in the next order, or in the reverse one. Marks
// stay: they are of rows, not of places.
func (t *table[T]) sort() tea.Cmd {
	if len(t.sorts) < 2 {
		return nil
	}
	t.advance()
	return t.ask()
}

func (t *table[T]) turn() tea.Cmd {
	t.reverse = !t.reverse
	return t.ask()
}

// tally is how many rows a listing has.
type tally struct {
	count    func(view) func(context.Context) (api.Count, error) // nil: the server does not count these
	rows     int                                                 // if known
	known    bool
	seq      int  // of the latest question
	counting bool // it is open
	cancel   context.CancelFunc
	counted  time.Time // when the latest answer came
	took     time.Duration
}

// countMsg is the answer to a count.
type countMsg struct {
	list, seq int
	rows      int
	err       error
	took      time.Duration
}

// forget drops the count, and the answer to an open question when it comes.
func (c *tally) forget() {
	if c.cancel != nil {
		c.cancel()
	}
	c.seq++
	c.known, c.counting, c.counted = false, false, time.Time{}
}

// askCount asks the server to count, unless it is asked already, or a count that took
// long has only just come.
func (t *table[T]) askCount() tea.Cmd {
	if t.count == nil || t.counting || t.m.now().Sub(t.counted) < restFactor*t.tally.took {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.m.ctx, patience)
	t.counting, t.cancel = true, cancel
	list, seq, count, now := t.list.id, t.seq, t.count(t.view()), t.m.now
	return func() tea.Msg {
		defer cancel()
		start := now()
		n, err := count(ctx)
		return countMsg{list, seq, n.Rows, err, now().Sub(start)}
	}
}

// tookCount takes the answer, if it is to the latest question about the list.
func (c *tally) tookCount(list int, now time.Time, msg countMsg) {
	if msg.list != list || msg.seq != c.seq {
		return
	}
	c.counting, c.counted = false, now
	if msg.err == nil { // the listing reports what fails
		c.rows, c.known = msg.rows, true
	}
	c.took = msg.took
}

// complete completes the last word of a query line to a filter, or to a value of one.
// Where several would do, it goes as far as they agree, and hint says which they are.
func complete(line string, forms []api.FilterForm) (completed, hint string) {
	at := strings.LastIndexByte(line, ' ') + 1
	last := line[at:]
	name, value, isFilter := strings.Cut(last, ":")
	var found []string
	if isFilter {
		for _, f := range forms {
			if f.Name == strings.ToLower(name) {
				found, hint = beginning(values(f), value), f.Name+": "+f.Help
			}
		}
		name += ":"
	} else {
		var names []string
		for _, f := range forms {
			names = append(names, f.Name)
		}
		found, name = beginning(names, last), ""
	}
	switch len(found) {
	case 0:
		return line, hint
	case 1:
		return line[:at] + name + ending(found[0], isFilter, forms), hint
	}
	return line[:at] + name + common(found), strings.Join(found, "  ")
}

// values returns the values that a filter may have, if they are few.
func values(f api.FilterForm) []string {
	if f.Value == "" || f.Value != strings.ToLower(f.Value) {
		return nil
	}
	return strings.Split(f.Value, "|")
}

// ending is what follows a word that is complete: the value of a filter, or the next word.
func ending(word string, isValue bool, forms []api.FilterForm) string {
	for _, f := range forms {
		if !isValue && f.Name == word && f.Value != "" {
			return word + ":"
		}
	}
	return word + " "
}

func beginning(words []string, prefix string) (found []string) {
	for _, w := range words {
		if strings.HasPrefix(w, strings.ToLower(prefix)) {
			found = append(found, w)
		}
	}
	return found
}

// common is how all of the words begin.
func common(words []string) string {
	all := words[0]
	for _, w := range words {
		for !strings.HasPrefix(w, all) {
			all = all[:len(all)-1]
		}
	}
	return all
}

// sought returns the words of a query line that are looked for in texts, in lower case.
func sought(line string) (words []string) {
	for _, w := range strings.Fields(strings.ToLower(line)) {
		if text, ok := strings.CutPrefix(w, "search:"); ok {
			w = text
		}
		if w = strings.Trim(w, `"`); w != "" && !strings.Contains(w, ":") {
			words = append(words, w)
		}
	}
	return words
}
