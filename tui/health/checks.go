package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

const (
	soon    = 14 * say.Day // a certificate that ends within this time is a warning
	slow    = 50           // ms: a verification whose p99 is above this is a warning
	nameMax = 14           // columns of a check's name
	margin  = 3 + 4 + nameMax
)

// level is how urgent something is; its index in problems.
type level int

const (
	minor level = iota // "!"
	major              // "!!"
	well               // "ok"
)

func (l level) String() string { return []string{"!", "!!", "ok"}[l] }

// check is something that is well or not.
type check struct {
	level level
	name  string // for the line; also in the first line, unless label is set
	label string
	says  string
	todo  []string // what to do about it, a line each
}

// look says that somebody has to look at it, in time.
func (c *check) look() {
	if c.level == well {
		c.level = minor
	}
}

// checks returns the lines of all checks, and remembers the problems.
func (r *Report) checks(width int) (out []string) {
	for _, c := range append(r.store(), r.people()...) {
		if c.label == "" {
			c.label = c.name
		}
		line := text.Cut("   "+text.Left(c.level.String(), 4)+text.Left(text.Escape(c.name), nameMax)+text.Escape(c.says), width)
		if c.level != well {
			r.problems[c.level] = append(r.problems[c.level], text.Escape(c.label))
			line = r.Paint.Warn(line)
		}
		out = append(out, line)
		for _, l := range c.todo {
			for part := range strings.Lines(ansi.Wrap(text.Escape(l), max(width-margin-1, 1), "")) {
				out = append(out, text.Left("", margin)+strings.TrimSpace(part))
			}
		}
	}
	return out
}

// store says how the disk, the backup and the certificate are.
func (r *Report) store() (list []check) {
	st, at := r.Status, r.Now
	room := say.Size(st.Store.Bytes) + " on disk, " + say.Size(st.Store.Free) + " free"
	if st.Store.Problem == "" {
		list = append(list, check{level: well, name: "store", says: room})
	} else {
		list = append(list, check{level: major, name: "store", says: room, todo: []string{st.Store.Problem, "make room on the disk; gatehouse manual troubleshooting"}})
	}
	list = append(list, check{level: well, name: "journal", says: say.Size(st.Store.Journal) + " of it, with the audit log"})
	const backup = "gatehouse backup FILE makes one"
	switch last := st.Store.LastBackup; {
	case last == 0:
		list = append(list, check{level: minor, name: "last backup", says: "never", todo: []string{backup}})
	case st.Store.BackupOverdue:
		list = append(list, check{level: minor, name: "last backup", says: say.When(at, last), todo: []string{backup}})
	default:
		list = append(list, check{level: well, name: "last backup", says: say.When(at, last)})
	}
	if !r.Offline { // only a server has one, and verifies
		list = append(list, r.certificate(), r.verification())
	}
	return list
}

func (r *Report) certificate() check {
	c, at := r.Status.Certificate, r.Now
	end := time.UnixMilli(c.NotAfter)
	k := check{level: well, name: "certificate", says: "ends " + say.Moment(at, c.NotAfter) + ", in " + say.Span(end.Sub(at))}
	const renew = "renew the files that [tls] names: they are read again when they change"
	switch {
	case c.NotAfter == 0 && c.Problem == "":
		k.says = "none: this server speaks http"
	case c.NotAfter == 0:
		k.level, k.says = minor, "none"
	case end.Before(at):
		k.level, k.says, k.todo = major, "ended "+say.When(at, c.NotAfter), []string{renew}
	case end.Sub(at) < soon:
		k.level, k.todo = minor, []string{renew}
	}
	if c.Problem != "" {
		k.look()
		k.todo = append([]string{c.Problem}, k.todo...)
	}
	return k
}

// verification says how long it takes to verify a token.
func (r *Report) verification() check {
	a := r.Status.Activity
	k := check{level: well, name: "verification", says: "none in the last minute"}
	if a.P50 > 0 || a.P99 > 0 {
		k.says = fmt.Sprintf("p50 %s, p99 %s", say.Millis(a.P50), say.Millis(a.P99))
	}
	if a.P99 > slow {
		k.level, k.todo = minor, []string{"the disk or the processor is busy: gatehouse manual sizing"}
	}
	return k
}

// people says what waits until somebody confirms it, and how the directory and the
// providers answer.
func (r *Report) people() (list []check) {
	st := r.Status
	list = r.held()
	if st.Orphaned > 0 {
		list = append(list, check{level: minor, name: "orphaned", says: say.Count(st.Orphaned, "service account") + " without an owner", todo: []string{"gatehouse service list shows them"}})
	}
	if r.Offline {
		return list // only a server asks directories and providers
	}
	for _, h := range st.Directory {
		list = append(list, r.answers("directory", h))
	}
	if len(st.Directory) == 0 {
		list = append(list, check{level: well, name: "directory", says: "none: users are local"})
	}
	for _, h := range st.Providers {
		list = append(list, r.answers("provider", h))
	}
	if len(st.Providers) == 0 {
		list = append(list, check{level: well, name: "providers", says: "none: nobody logs in through one"})
	}
	return list
}

// held says what waits until somebody confirms it.
func (r *Report) held() (list []check) {
	st := r.Status
	confirm := []string{"gatehouse user offboard             shows it, and why", "gatehouse user offboard --confirm   confirms it"}
	if st.Clock != "" {
		list = append(list, check{level: major, name: "clock", says: st.Clock})
	}
	if st.Held > 0 {
		list = append(list, check{level: major, name: "off-boarding", says: "a sweep is held: it would change " + say.Count(st.Held, "user"), todo: confirm})
	}
	for _, a := range st.HeldActs {
		list = append(list, check{level: minor, name: "held", says: fmt.Sprintf("would %s: %s of %s", a.Action, say.Number(a.Count), say.Number(a.Of)), todo: confirm})
	}
	if len(list) == 0 {
		list = append(list, check{level: well, name: "held", says: "nothing waits for a confirmation"})
	}
	return list
}

// answers says how a directory's server, or a provider, has answered recently.
func (r *Report) answers(kind string, h api.Health) check {
	k := check{level: well, name: kind, label: h.Name, says: h.Name + "   not asked yet"}
	switch {
	case h.Reachable:
		k.says = h.Name + "   " + say.Millis(h.Latency) + ", " + say.Ago(r.Now, h.LastSuccess)
	case h.LastFailure != 0:
		k.level, k.says = major, h.Name+"   FAILS, last answer "+say.Ago(r.Now, h.LastSuccess)
	}
	if h.LastError != "" {
		k.todo = append(k.todo, "last error "+say.Ago(r.Now, h.LastFailure)+": "+h.LastError)
	}
	if k.level == major {
		k.todo = append(k.todo, "gatehouse manual "+map[string]string{"directory": "ldap", "provider": "oauth"}[kind])
	}
	if h.Insecure != "" {
		k.look()
		k.todo = append(k.todo, "insecure: "+h.Insecure)
	}
	if c := h.Recheck; c != nil {
		k.todo = append(k.todo, "users were asked about "+say.Ago(r.Now, c.Swept))
		if c.Unverified > 0 {
			k.look()
			k.todo = append(k.todo, say.Count(c.Unverified, "user")+" unverified: gatehouse user show UID says why")
		}
	}
	return k
}
