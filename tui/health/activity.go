package health

import (
	"slices"
	"strings"

	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// activity draws what was done each second, each graph with its own scale.
func (r *Report) activity(width int) []string {
	a := r.Status.Activity
	out := []string{"   " + r.Paint.Heads("A SECOND, IN THE LAST 2 MINUTES")}
	for _, row := range []struct {
		name   string
		values []int
	}{{"requests", a.Requests}, {"refused", a.Refused}, {"revoked", a.Revoked}} {
		out = append(out, graph(row.name, row.values, width, max(r.Rows, 1))...)
	}
	return out
}

const (
	graphName  = 12 // columns of its name
	graphScale = 7  // of the numbers at its left
	graphNow   = 11 // of the rate at its right
)

// graph draws the values in that many rows, with the scale at the left and the latest value
// at the right.
func graph(name string, values []int, width, rows int) (out []string) {
	room := max(min(width-3-graphName-graphScale-2-graphNow, len(values)), 0)
	shown := values[len(values)-room:]
	most := 0
	if room > 0 {
		most = slices.Max(shown)
	}
	if most == 0 {
		rows = 1
	}
	for n, line := range say.Bars(shown, rows) {
		label, scale, now := "", "", ""
		if n == 0 {
			label, scale = name, say.Number(most)
		}
		switch {
		case n < rows-1:
		case rows == 1:
			scale, now = "0-"+scale, "  "+say.Number(Rate(values))+"/s"
		default:
			scale, now = "0", "  "+say.Number(Rate(values))+"/s"
		}
		s := "   " + text.Left(label, graphName) + text.Right(scale, graphScale) + " " + line + now
		out = append(out, strings.TrimRight(text.Cut(s, width), " "))
	}
	return out
}

// Rate returns the value of the latest second that has ended.
func Rate(values []int) int {
	if len(values) == 0 {
		return 0
	}
	return values[len(values)-1]
}
