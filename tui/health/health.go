// Package health describes the state of a server in lines for a terminal: first whether all
// is well and what to look at, then the store, the directory and the providers, the activity
// of the last seconds, and how long ago the tokens were last used.
//
// It decides what is worth a warning, and how urgent that is. It does not ask the server for
// its status, which the caller has anyway; it only asks for the counts of tokens. It knows
// nothing about screens and keys.
package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	soon     = 14 * say.Day // a certificate that ends within this time is a warning
	sparkMax = 120          // columns of a sparkline at most
)

// Report is what Lines draws.
type Report struct {
	Status  api.Status
	Now     time.Time
	Offline bool  // no server runs
	Ages    []int // from CountAges; nil: not known
	Paint   Paint

	problems [2][]string // what to look at: in time, and now
}

// Paint colours what is said.
type Paint struct{ Heads, Warn, Well func(...string) string }

// level is how urgent something is; its index in problems.
type level int

const (
	minor level = iota // "!"
	major              // "!!"
)

func (l level) String() string { return []string{"!", "!!"}[l] }

// Lines draws the report in lines of at most width columns.
func (r Report) Lines(width int) []string {
	f := &text.Facts{Width: width}
	r.store(f)
	r.people(f)
	f.Gap()
	r.activity(f)
	r.ages(f)
	return append(r.inWords(width), f.Lines...)
}

// inWords answers "is all well?".
func (r *Report) inWords(width int) []string {
	line := "   ok  All is well."
	for l, names := range r.problems { // the most urgent last, and so it stays
		if len(names) > 0 {
			line = "   " + level(l).String() + " Not all is well: look at " + listed(append(names, r.problems[minor][:len(r.problems[minor])*l]...)) + "."
		}
	}
	if len(r.problems[minor])+len(r.problems[major]) > 0 {
		return []string{r.Paint.Warn(text.Cut(line, width)), ""}
	}
	return []string{r.Paint.Well(text.Cut(line, width)), ""}
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
func (r *Report) activity(f *text.Facts) {
	a := r.Status.Activity
	for _, row := range []struct {
		name   string
		values []int
	}{{"requests", a.Requests}, {"refused", a.Refused}, {"revoked", a.Revoked}} {
		width := max(min(f.Width-text.FactName-24, sparkMax, len(row.values)), 0)
		shown := row.values[len(row.values)-width:]
		tail := say.Number(Rate(shown)) + "/s"
		if width > 0 {
			tail = "  " + tail + ", peak " + say.Number(slices.Max(shown))
		}
		f.Add(row.name, say.Spark(shown, width)+tail)
	}
	verification := "p50 -   p99 -   none in the last minute"
	if a.P50 > 0 || a.P99 > 0 {
		verification = fmt.Sprintf("p50 %s   p99 %s", say.Millis(a.P50), say.Millis(a.P99))
	}
	f.Add("verification", verification)
}

// store says how the disk, the backup and the certificate are.
func (r *Report) store(f *text.Facts) {
	st, at := r.Status, r.Now
	room := say.Size(st.Store.Bytes) + " on disk, " + say.Size(st.Store.Free) + " free"
	if st.Store.Problem == "" {
		f.Add("store", "ok "+room)
	} else {
		r.warn(f, major, "store", room)
		r.warn(f, major, "", st.Store.Problem)
	}
	switch last := st.Store.LastBackup; {
	case last == 0:
		r.warn(f, minor, "last backup", "never: gatehouse backup FILE makes one")
	case st.Store.BackupOverdue:
		r.warn(f, minor, "last backup", say.When(at, last)+": gatehouse backup FILE makes one")
	default:
		f.Add("last backup", "ok "+say.When(at, last))
	}
	switch end := time.UnixMilli(st.Certificate.NotAfter); {
	case r.Offline: // only a server has one
	case st.Certificate.NotAfter == 0 && st.Certificate.Problem == "":
		f.Add("certificate", "none: this server speaks http")
	case st.Certificate.NotAfter != 0 && end.Before(at):
		r.warn(f, major, "certificate", "ended "+say.When(at, st.Certificate.NotAfter))
	case st.Certificate.NotAfter != 0 && end.Sub(at) < soon:
		r.warn(f, minor, "certificate", "ends "+say.Moment(at, st.Certificate.NotAfter)+"   in "+say.Span(end.Sub(at)))
	case st.Certificate.NotAfter != 0:
		f.Add("certificate", "ok ends "+say.Moment(at, st.Certificate.NotAfter)+"   in "+say.Span(end.Sub(at)))
	}
	if st.Certificate.Problem != "" {
		r.warn(f, minor, "certificate", st.Certificate.Problem)
	}
}

// held says what waits until somebody confirms it, except for off-boarding.
func (r *Report) held(f *text.Facts) {
	st := r.Status
	if st.Clock == "" && len(st.HeldActs) == 0 {
		return
	}
	f.Gap()
	if st.Clock != "" {
		r.warn(f, major, "clock", st.Clock)
	}
	for _, a := range st.HeldActs {
		r.warn(f, minor, "held", fmt.Sprintf("would %s: %d of %d", a.Action, a.Count, a.Of))
	}
	f.Add("", "gatehouse user offboard             tells why")
	f.Add("", "gatehouse user offboard --confirm   confirms it")
}

// people says how the directory and the providers answer.
func (r *Report) people(f *text.Facts) {
	st := r.Status
	r.held(f)
	if st.Held > 0 {
		f.Gap()
		r.warn(f, major, "off-boarding", "a sweep is held: it would change "+say.Count(st.Held, "user"))
		f.Add("", "gatehouse user offboard             shows them")
		f.Add("", "gatehouse user offboard --confirm   confirms it")
	}
	if st.Orphaned > 0 {
		f.Gap()
		r.warn(f, minor, "orphaned", say.Count(st.Orphaned, "service account")+" without an owner: gatehouse service list shows them")
	}
	f.Gap()
	all := append(append([]api.Health{}, st.Directory...), st.Providers...)
	switch {
	case len(all) == 0 && r.Offline:
		return // only a server asks them
	case len(all) == 0:
		f.Add("directory", "none: users are local")
		return
	}
	cols := columns(r.Now)
	w := listing.Widths(cols, f.Width)
	f.Lines = append(f.Lines, r.Paint.Heads(listing.Heads(cols, w)))
	for _, h := range all {
		row := listing.Line(cols, w, h, false, false, "", nil)
		if reach(h) == "FAILS" {
			r.problems[major] = append(r.problems[major], h.Name)
			row = r.Paint.Warn(row)
		}
		f.Lines = append(f.Lines, row)
		if c := h.Recheck; c != nil {
			line := "       users were asked about " + say.Ago(r.Now, c.Swept)
			if c.Unverified > 0 {
				line += "; " + say.Count(c.Unverified, "user") + " unverified: gatehouse user show UID says why"
			}
			f.Lines = append(f.Lines, text.Cut(line, f.Width))
		}
		if h.Insecure != "" {
			f.Lines = append(f.Lines, r.Paint.Warn(text.Cut("       ! insecure: "+h.Insecure, f.Width)))
		}
		if h.LastError != "" {
			f.Lines = append(f.Lines, text.Cut("       last error "+say.Ago(r.Now, h.LastFailure)+": "+h.LastError, f.Width))
		}
	}
}

func columns(now time.Time) []listing.Column[api.Health] {
	return []listing.Column[api.Health]{
		{Head: "DIRECTORY OR PROVIDER", Min: 22, Max: 44, Cell: func(h api.Health) string { return h.Name }},
		{Head: "STATE", Min: 5, Max: 5, Cell: reach},
		{Head: "LATENCY", Min: 9, Max: 9, Right: true, Cell: func(h api.Health) string { return say.Millis(h.Latency) }},
		{Head: "LAST SUCCESS", Min: 13, Max: 13, Cell: func(h api.Health) string { return say.Ago(now, h.LastSuccess) }},
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
func (r *Report) warn(f *text.Facts, l level, name, value string) {
	if name != "" {
		r.problems[l] = append(r.problems[l], name)
	}
	f.Add(name, l.String()+" "+value)
	last := len(f.Lines) - 1
	f.Lines[last] = r.Paint.Warn(f.Lines[last])
}

// Rate is what was done in the second that ended last.
func Rate(values []int) int {
	if len(values) == 0 {
		return 0
	}
	return values[len(values)-1]
}
