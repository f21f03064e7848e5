package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	soon     = 14 * say.Day // a certificate that ends within this time is a warning
	sparkMax = 120          // columns of a sparkline at most
)

// status is the screen of how the server does. It shows what the model asks
// for anyway, every two seconds.
type status struct {
	sheet
	m        *model
	ages     ages
	problems [2][]string // what to look at: in time, and now
}

// level is how urgent something is; its index in problems.
type level int

const (
	minor level = iota // "!"
	major              // "!!"
)

func (l level) String() string { return []string{"!", "!!"}[l] }

var _ screen = (*status)(nil)

func (s *status) place() place     { return onStatus }
func (s *status) start() tea.Cmd   { return tea.Batch(s.m.askStatus(), s.ages.ask(s.m)) }
func (s *status) refresh() tea.Cmd { return s.ages.ask(s.m) } // the model asks for the rest
func (s *status) stop()            { s.ages.stop() }
func (s *status) answer(msg tea.Msg) tea.Cmd {
	s.ages.take(msg)
	return nil
}
func (s *status) rested() bool        { return true }
func (s *status) answered() time.Time { return s.m.heardAt }
func (s *status) failure() error      { return s.m.statusErr }

func (s *status) title(width int) string {
	if !s.m.known {
		return "Status"
	}
	return say.Fitting(width, "Status", "gatehouse "+text.Escape(s.m.status.Version), "since "+say.Moment(s.m.now(), s.m.status.Started))
}

func (s *status) body(width, height int) []string {
	if !s.m.known {
		switch err := s.m.statusErr; {
		case err == nil:
			return nil
		case unreachable(err):
			return []string{"", "     Nothing to show until a server answers."}
		default:
			return []string{"", "     ! " + explain(err) + "  (r asks again)"}
		}
	}
	return s.window(s.lines(width), height)
}

func (s *status) lines(width int) []string {
	f := &facts{width: width}
	s.problems = [2][]string{}
	s.store(f)
	s.people(f)
	f.gap()
	s.activity(f)
	s.ages.draw(f, s.m)
	return append(s.inWords(width), f.lines...)
}

// inWords answers "is all well?".
func (s *status) inWords(width int) []string {
	line := "   ok  All is well."
	for l, names := range s.problems { // the most urgent last, and so it stays
		if len(names) > 0 {
			line = "   " + level(l).String() + " Not all is well: look at " + listed(append(names, s.problems[minor][:len(s.problems[minor])*l]...)) + "."
		}
	}
	if len(s.problems[minor])+len(s.problems[major]) > 0 {
		return []string{s.m.st.warn.Render(text.Cut(line, width)), ""}
	}
	return []string{s.m.st.tones[listing.Green].Render(text.Cut(line, width)), ""}
}

// listed writes names as a sentence has them, each once.
func listed(names []string) string {
	var once []string
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	if last := len(once) - 1; last > 0 {
		return strings.Join(once[:last], ", ") + " and " + once[last]
	}
	return once[0]
}

// activity draws what was done each second.
func (s *status) activity(f *facts) {
	a := s.m.status.Activity
	for _, row := range []struct {
		name   string
		values []int
	}{{"requests", a.Requests}, {"refused", a.Refused}, {"revoked", a.Revoked}} {
		width := max(min(f.width-factName-24, sparkMax, len(row.values)), 0)
		shown := row.values[len(row.values)-width:]
		tail := say.Number(rate(shown)) + "/s"
		if width > 0 {
			tail = "  " + tail + ", peak " + say.Number(slices.Max(shown))
		}
		f.add(row.name, say.Spark(shown, width)+tail)
	}
	verification := "p50 -   p99 -   none in the last minute"
	if a.P50 > 0 || a.P99 > 0 {
		verification = fmt.Sprintf("p50 %s   p99 %s", millis(a.P50), millis(a.P99))
	}
	f.add("verification", verification)
}

// store says how the disk, the backup and the certificate are.
func (s *status) store(f *facts) {
	st, at := s.m.status, s.m.now()
	room := size(st.Store.Bytes) + " on disk, " + size(st.Store.Free) + " free"
	if st.Store.Problem == "" {
		f.add("store", "ok "+room)
	} else {
		s.warn(f, major, "store", room)
		s.warn(f, major, "", st.Store.Problem)
	}
	switch last := st.Store.LastBackup; {
	case last == 0:
		s.warn(f, minor, "last backup", "never: gatehouse backup FILE makes one")
	case st.Store.BackupOverdue:
		s.warn(f, minor, "last backup", say.When(at, last)+": gatehouse backup FILE makes one")
	default:
		f.add("last backup", "ok "+say.When(at, last))
	}
	switch end := time.UnixMilli(st.Certificate.NotAfter); {
	case s.m.o.Offline: // only a server has one
	case st.Certificate.NotAfter == 0 && st.Certificate.Problem == "":
		f.add("certificate", "none: this server speaks http")
	case st.Certificate.NotAfter != 0 && end.Before(at):
		s.warn(f, major, "certificate", "ended "+say.When(at, st.Certificate.NotAfter))
	case st.Certificate.NotAfter != 0 && end.Sub(at) < soon:
		s.warn(f, minor, "certificate", "ends "+say.Moment(at, st.Certificate.NotAfter)+"   in "+say.Span(end.Sub(at)))
	case st.Certificate.NotAfter != 0:
		f.add("certificate", "ok ends "+say.Moment(at, st.Certificate.NotAfter)+"   in "+say.Span(end.Sub(at)))
	}
	if st.Certificate.Problem != "" {
		s.warn(f, minor, "certificate", st.Certificate.Problem)
	}
}

// held says what waits until somebody confirms it, except for off-boarding.
func (s *status) held(f *facts) {
	st := s.m.status
	if st.Clock == "" && len(st.HeldActs) == 0 {
		return
	}
	f.gap()
	if st.Clock != "" {
		s.warn(f, major, "clock", st.Clock)
	}
	for _, a := range st.HeldActs {
		s.warn(f, minor, "held", fmt.Sprintf("would %s: %d of %d", a.Action, a.Count, a.Of))
	}
	f.add("", "gatehouse user offboard             tells why")
	f.add("", "gatehouse user offboard --confirm   confirms it")
}

// people says how the directory and the providers answer.
func (s *status) people(f *facts) {
	st := s.m.status
	s.held(f)
	if st.Held > 0 {
		f.gap()
		s.warn(f, major, "off-boarding", "a sweep is held: it would change "+say.Count(st.Held, "user"))
		f.add("", "gatehouse user offboard             shows them")
		f.add("", "gatehouse user offboard --confirm   confirms it")
	}
	if st.Orphaned > 0 {
		f.gap()
		s.warn(f, minor, "orphaned", say.Count(st.Orphaned, "service account")+" without an owner: gatehouse service list shows them")
	}
	f.gap()
	all := append(append([]api.Health{}, st.Directory...), st.Providers...)
	switch {
	case len(all) == 0 && s.m.o.Offline:
		return // only a server asks them
	case len(all) == 0:
		f.add("directory", "none: users are local")
		return
	}
	cols := healthColumns(s.m)
	w := listing.Widths(cols, f.width)
	f.lines = append(f.lines, s.m.st.heads.Render(listing.Heads(cols, w)))
	for _, h := range all {
		row := listing.Line(cols, w, h, false, false, "", nil)
		if reach(h) == "FAILS" {
			s.problems[major] = append(s.problems[major], h.Name)
			row = s.m.st.warn.Render(row)
		}
		f.lines = append(f.lines, row)
		if c := h.Recheck; c != nil {
			line := "       users were asked about " + say.Ago(s.m.now(), c.Swept)
			if c.Unverified > 0 {
				line += "; " + say.Count(c.Unverified, "user") + " unverified: gatehouse user show UID says why"
			}
			f.lines = append(f.lines, text.Cut(line, f.width))
		}
		if h.Insecure != "" {
			f.lines = append(f.lines, s.m.st.warn.Render(text.Cut("       ! insecure: "+h.Insecure, f.width)))
		}
		if h.LastError != "" {
			f.lines = append(f.lines, text.Cut("       last error "+say.Ago(s.m.now(), h.LastFailure)+": "+h.LastError, f.width))
		}
	}
}

func healthColumns(m *model) []listing.Column[api.Health] {
	return []listing.Column[api.Health]{
		{Head: "DIRECTORY OR PROVIDER", Min: 22, Max: 44, Cell: func(h api.Health) string { return h.Name }},
		{Head: "STATE", Min: 5, Max: 5, Cell: reach},
		{Head: "LATENCY", Min: 9, Max: 9, Right: true, Cell: func(h api.Health) string { return millis(h.Latency) }},
		{Head: "LAST SUCCESS", Min: 13, Max: 13, Cell: func(h api.Health) string { return say.Ago(m.now(), h.LastSuccess) }},
	}
}

// reach says in a word whether somebody answers.
func reach(h api.Health) string {
	switch {
	case h.Reachable:
		return "ok"
	case h.LastFailure != 0:
		return "FAILS"
	}
	return "-" // not asked yet
}

// warn adds something that somebody has to look at. Without a name it continues the line
// above.
func (s *status) warn(f *facts, l level, name, value string) {
	if name != "" {
		s.problems[l] = append(s.problems[l], name)
	}
	f.add(name, l.String()+" "+value)
	last := len(f.lines) - 1
	f.lines[last] = s.m.st.warn.Render(f.lines[last])
}

// rate is what was done in the second that ended last.
func rate(values []int) int {
	if len(values) == 0 {
		return 0
	}
	return values[len(values)-1]
}

// millis shows milliseconds with three digits that count.
func millis(ms float64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 1:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.0f s", ms/1000)
}

func size(bytes int64) string {
	const unit = 1024
	f := float64(bytes)
	for _, name := range []string{"B", "KiB", "MiB", "GiB"} {
		switch {
		case f < 10 && name != "B":
			return fmt.Sprintf("%.1f %s", f, name)
		case f < unit:
			return fmt.Sprintf("%.0f %s", f, name)
		}
		f /= unit
	}
	return fmt.Sprintf("%.1f TiB", f)
}
