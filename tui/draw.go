package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/health"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// tabNames are the tabs in the order of their keys.
var tabNames = [...]string{"Users", "Tokens", "Review", "Events", "Status"}

// View draws the frame: exactly height lines, none wider than width.
func (m *model) View() string {
	if m.o.ASCII {
		return text.ASCII(m.frame())
	}
	return m.frame()
}

func (m *model) frame() string {
	if m.width == 0 {
		return ""
	}
	if m.tooSmall() {
		return text.Cut(fmt.Sprintf("%dx%d is too small: 60x12 at least", m.width, m.height), m.width)
	}
	top := []string{m.header(), m.tabLine()}
	if b := m.banner(); b != "" {
		top = append(top, m.st.banner.Render(text.Left(b, m.width)))
	}
	room := m.height - len(top) - 2
	m.bodyAt = len(top)
	body := m.body(room)
	if m.box != nil {
		body = m.float(body, room)
	}
	for len(body) < room {
		body = append(body, "")
	}
	lines := append(append(top, body[:room]...), m.noticeLine(), m.keyLine())
	for i, l := range lines {
		lines[i] = ansi.Truncate(l, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// body draws the screen and, where there is one, the pane beside it.
func (m *model) body(room int) []string {
	left := m.width
	if m.pane.shows() {
		left = 2 * m.width / 3
	}
	title := text.Cut(" "+m.screen().title(left-1), left)
	body := append([]string{m.st.title.Render(title)}, m.screen().body(left, room-1)...)
	if m.pane.shows() {
		body = m.pane.beside(body, left, room)
	}
	return body
}

const (
	boxLow   = 16  // the height of a terminal from which a box floats; below, it takes all
	boxWide  = 110 // columns of a box at most
	boxLeast = 40
)

// float lays the box over the body, which shows dimmed around it. A box is as wide as its
// lines. The lines of the palette change with each key, but the palette keeps its place and
// width.
func (m *model) float(body []string, room int) []string {
	if m.height < boxLow {
		return m.box.Body(m.width, room)
	}
	most := min(m.width-4, boxWide)
	lines := m.box.Body(most-1, room-2)
	if slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(strings.TrimRight(ansi.Strip(l), " "), ` \`) }) {
		return m.box.Body(m.width, room) // a command of several lines: nothing that is behind may be copied with it
	}
	inner := min(boxLeast, most)
	for _, l := range lines {
		inner = max(inner, text.Width(strings.TrimRight(ansi.Strip(l), " "))+1)
	}
	inner = min(inner, most)
	y := max((room-len(lines)-2)/2, 0)
	if _, ok := m.box.(*palette); ok {
		inner, y = most, 1
	}
	rule := strings.Repeat("─", inner)
	framed := []string{"┌" + rule + "┐"}
	for _, l := range lines {
		framed = append(framed, "│"+padded(ansi.Truncate(l, inner, "…"), inner)+"│")
	}
	framed = append(framed, "└"+rule+"┘")
	x := (m.width - inner - 2) / 2
	dim := m.st.tones[listing.Dim].Render
	out := make([]string, room)
	for n := range out {
		behind := ""
		if n < len(body) {
			behind = ansi.Strip(body[n])
		}
		if n < y || n >= y+len(framed) {
			out[n] = dim(ansi.Truncate(behind, m.width, ""))
			continue
		}
		right := ansi.TruncateLeft(padded(behind, m.width), x+inner+2, "")
		right = strings.Repeat(" ", max(m.width-x-inner-2-text.Width(right), 0)) + right // half a wide letter is left out
		out[n] = dim(padded(ansi.Truncate(behind, x, ""), x)) + framed[n-y] + dim(right)
	}
	return out
}

// ends puts left and right at the two ends of a line; right gives way.
func (m *model) ends(left, right string) string {
	room := m.width - text.Width(left) - text.Width(right) - 1
	if room < 1 {
		return left
	}
	return left + strings.Repeat(" ", room) + right
}

func (m *model) header() string {
	now := m.now()
	right := []string{now.Format("15:04:05 MST")}
	add := func(s string) { // to the left of the others, if there is room
		if text.Width(strings.Join(right, "   "))+text.Width(s)+len(" gatehouse admin")+4 <= m.width {
			right = slices.Insert(right, 0, s)
		}
	}
	if m.known && m.status.Actor != "" {
		who := "as " + text.Cut(m.status.Actor, max(m.width/5, 12))
		if m.status.Role != "" {
			who += ", " + text.Cut(string(m.status.Role), 8)
		}
		add(who)
	}
	if m.o.ReadOnly {
		add("READ ONLY")
	}
	if m.known && !m.o.Offline {
		add("up " + say.Span(now.Sub(time.UnixMilli(m.status.Started))))
	}
	return m.ends(m.st.title.Render(" gatehouse admin"), strings.Join(right, "   "))
}

// tabLine has the tabs and, where there is room, how busy the server is.
func (m *model) tabLine() string {
	out, gap := "", " "
	if m.width < 80 {
		gap = ""
	}
	for i, name := range tabNames {
		label := fmt.Sprintf("%d %s", i+1, name)
		if i == m.tab {
			out += gap + "[" + m.st.tab.Render(label) + "]"
		} else {
			out += gap + " " + label + " "
		}
	}
	if !m.known || m.o.Offline {
		return out
	}
	a := m.status.Activity
	return m.ends(out, say.Number(health.Rate(a.Requests))+" req/s   "+say.Number(health.Rate(a.Refused))+" refused/s")
}

// banner returns the conditions that matter for everything else, the worst first.
func (m *model) banner() string {
	var out []string
	if m.lost != nil {
		wait := max(m.retryAt.Sub(m.now()).Round(time.Second), 0)
		out = append(out, fmt.Sprintf("CONNECTION LOST, next try in %s: %s", say.Span(wait), say.Error(m.lost)))
	}
	if m.o.Offline {
		out = append(out, "OFFLINE: no server runs; this works on the store itself")
	}
	if m.known && differ(m.status.Version, m.o.Version) {
		out = append(out, fmt.Sprintf("The server is %s, this is %s", text.Escape(m.status.Version), m.o.Version))
	}
	if len(out) == 0 {
		return ""
	}
	return " " + strings.Join(out, "   ")
}

// differ reports whether two versions are known to differ. A binary that go run built does
// not know its version.
func differ(one, other string) bool {
	known := func(v string) bool { return v != "" && v != api.NoVersion }
	return known(one) && known(other) && one != other
}

// noticeLine says what happened, or what is marked, and how fresh the rows are.
func (m *model) noticeLine() string {
	s, now := m.screen(), m.now()
	left := ""
	if m.box == nil {
		left = s.note()
	}
	switch err := s.failure(); {
	case m.notice != "" && now.Sub(m.noticeAt) < noticeFor:
		if left = m.notice; m.bad {
			left = m.st.warn.Render("! " + left)
		}
	case err != nil && !say.Unreachable(err):
		left = m.st.warn.Render("! " + say.Error(err))
	}
	right := ""
	if at := s.answered(); !at.IsZero() {
		right = "refreshed " + say.Ago(now, at.UnixMilli())
	}
	if m.paused {
		right = "PAUSED, p goes on   " + right
	}
	if sign, slow := s.spin(); slow {
		right = "loading " + sign
	}
	return m.ends(" "+left, right)
}

// keyLine lists the keys of the screen as far as there is room; help and quit
// always.
func (m *model) keyLine() string {
	if m.box != nil {
		return ""
	}
	if r, ok := m.screen().(rows); ok && r.filtering() {
		return " type what to find   tab complete   ↑ ↓ move   enter keep   esc clear"
	}
	item := func(b binding) string {
		if !m.may(b) {
			return "   " + m.st.tones[listing.Dim].Render("("+b.show+" "+b.short+")")
		}
		return "   " + m.st.key.Render(b.show) + " " + b.short
	}
	var tail string
	for _, b := range m.keys {
		if b.short == "help" || b.short == "quit" {
			tail += item(b)
		}
	}
	out, width := "", text.Width(tail)
	for _, b := range m.keys {
		if b.short == "" || b.on&m.screen().place() == 0 || b.short == "help" || b.short == "quit" {
			continue
		}
		one := item(b)
		if width += text.Width(one); width > m.width+1 {
			break
		}
		out += one
	}
	return strings.TrimPrefix(out+tail, "  ")
}

// styles are in the terminal's own sixteen colours, in any theme, and
// say nothing that the characters do not say too.
type styles struct {
	title, tab, heads, cursor, warn, banner, key, match lipgloss.Style
	tones                                               [5]lipgloss.Style
}

func newStyles(r *lipgloss.Renderer) styles {
	s := r.NewStyle
	colour := func(c string) lipgloss.Style { return s().Foreground(lipgloss.Color(c)) }
	return styles{
		title:  s().Bold(true),
		tab:    s().Bold(true),
		heads:  colour("6"),
		cursor: s().Reverse(true),
		warn:   colour("1").Bold(true),
		banner: s().Reverse(true),
		key:    colour("6"),
		match:  s().Underline(true).Bold(true),
		tones:  [5]lipgloss.Style{s(), s().Faint(true), colour("3"), colour("1"), colour("2")},
	}
}

// highlit colours a cell, and in it the words that were looked for.
func (st *styles) highlit(cell string, words []string, t listing.Tone) string {
	from, to := -1, -1
	if len(words) > 0 {
		lower := strings.ToLower(cell)
		for _, w := range words {
			if at := strings.Index(lower, w); at >= 0 && len(lower) == len(cell) {
				from, to = at, at+len(w)
				break
			}
		}
	}
	paint := func(s string) string {
		if t == listing.Plain || s == "" {
			return s
		}
		return st.tones[t].Render(s)
	}
	if from < 0 {
		return paint(cell)
	}
	return paint(cell[:from]) + st.match.Render(cell[from:to]) + paint(cell[to:])
}
