package tui

import "slices"

const (
	pageRows   = 200  // asked for at a time
	windowRows = 1000 // kept at most
	nearEdge   = 100  // rows from the edge at which the next page is asked for
)

// order says how a listing names its rows.
type order[T any] struct {
	id     func(T) string // what the row is
	cursor func(T) string // where it stands, for the question "what comes after"
}

// window is the part of a listing that is in memory.
type window[T any] struct {
	rows []T
	head string // the cursor after which rows begin; empty at the start of the listing
	end  bool   // nothing comes after rows
}

// whole reports whether the window is all of the listing.
func (w *window[T]) whole() bool { return w.head == "" && w.end }

// append adds the page that comes after, and lets go of rows at the front to
// stay within bounds, but for those near at. It returns by how much the index
// of a row has changed.
func (w *window[T]) append(o order[T], page []T, at int) int {
	moved := w.drop(o, page, at)
	w.rows = append(w.rows, page...)
	over := len(w.rows) - windowRows
	if over <= 0 {
		return moved
	}
	if at+moved < over+nearEdge { // the reader went back meanwhile
		w.rows, w.end = w.rows[:windowRows:windowRows], false
		return moved
	}
	w.head = o.cursor(w.rows[over-1])
	w.rows = slices.Clone(w.rows[over:])
	return moved - over
}

// prepend adds the page that comes before, which begins after the cursor head,
// and lets go of rows at the end.
func (w *window[T]) prepend(o order[T], page []T, head string, at int) int {
	moved := w.drop(o, page, at)
	w.rows, w.head = slices.Concat(page, w.rows), head
	if len(w.rows) > windowRows {
		w.rows, w.end = w.rows[:windowRows:windowRows], false
	}
	return moved + len(page)
}

// drop lets go of the rows that a page has at another place by now.
func (w *window[T]) drop(o order[T], page []T, at int) (moved int) {
	elsewhere := make(map[string]bool, len(page))
	for _, r := range page {
		elsewhere[o.id(r)] = true
	}
	kept := make([]T, 0, len(w.rows)+len(page))
	for i, r := range w.rows {
		if !elsewhere[o.id(r)] {
			kept = append(kept, r)
		} else if i < at {
			moved--
		}
	}
	w.rows = kept
	return moved
}

// index returns where the row called id is, or -1.
func (w *window[T]) index(o order[T], id string) int {
	return slices.IndexFunc(w.rows, func(r T) bool { return o.id(r) == id })
}
