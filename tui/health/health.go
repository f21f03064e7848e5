// Package health describes the state of a server in lines for a terminal: first whether all
// is well and what to look at, then each thing that can go wrong, with what to do about it,
// the activity of the last seconds, and how many tokens were used, or end, when.
//
// It decides what is worth a warning, and how urgent that is. It does not ask the server for
// its status, which the caller has anyway; it only asks for the counts of tokens. It knows
// nothing about screens and keys.
package health

import (
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

const (
	twoColumns = 120 // the width from which the checks and the activity stand side by side
	columnMost = 110 // the width of one of them at most
)

// Report is what Lines draws.
type Report struct {
	Status  api.Status
	Now     time.Time
	Offline bool    // no server runs
	Lost    bool    // no server answers any more
	Counts  *Counts // nil: not known
	Rows    int     // how many lines a graph takes
	Paint   Paint

	problems [2][]string // what to look at: in time, and now
}

// Paint colours what is said.
type Paint struct{ Heads, Warn, Well func(...string) string }

// Lines draws the report in lines of at most width columns.
func (r Report) Lines(width int) []string {
	left, right := width, width
	beside := width >= twoColumns
	if beside {
		left = min(width/2, columnMost)
		right = min(width-left, columnMost)
	}
	checks := r.checks(left)
	words := r.inWords(width)
	figures := r.activity(right)
	if c := r.Counts; c != nil {
		ends := append([]string{""}, histogram(r.Paint.Heads("TOKENS BY THEIR END"), endBounds, "never", c.Ends, left)...)
		figures = slices.Concat(figures, []string{""}, histogram(r.Paint.Heads("TOKENS BY LAST USE"), ageBounds, "never used", c.Ages, right))
		if beside {
			checks = append(checks, ends...)
		} else {
			figures = append(figures, ends...)
		}
	}
	if !beside {
		return slices.Concat(words, checks, []string{""}, figures)
	}
	for n := range max(len(checks), len(figures)) {
		l, f := "", ""
		if n < len(checks) {
			l = checks[n]
		}
		if n < len(figures) {
			f = figures[n]
		}
		if f != "" {
			l += strings.Repeat(" ", max(left-ansi.StringWidth(l), 0)) + f
		}
		words = append(words, l)
	}
	return words
}

// inWords answers "is all well?".
func (r *Report) inWords(width int) []string {
	now, later := r.problems[major], r.problems[minor]
	var out []string
	warn := func(m level, s string) {
		out = append(out, r.Paint.Warn(text.Cut("   "+text.Left(m.String(), 4)+s, width)))
	}
	switch {
	case r.Lost:
		warn(major, "No server answers: what follows is from before.")
	case r.Offline:
		warn(major, "No server runs, so no token works. What follows is of the store itself.")
	}
	switch {
	case len(now) > 0:
		warn(major, "Not all is well: look at "+listed(slices.Concat(now, later))+".")
	case len(later) > 0:
		warn(minor, "Not all is well: look at "+listed(later)+".")
	case len(out) == 0:
		out = append(out, r.Paint.Well(text.Cut("   ok  All is well.", width)))
	}
	return append(out, "")
}

// listed joins names as in a sentence, each once.
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
