package tui

import "slices"

const (
	pageRows   = 200  // asked for at a time
	windowRows = 1000 // kept at most
	nearEdge   = 100  // rows from the edge at which the next page is asked for
)

// order identifies the rows of a listing.
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

// append adds the page that comes after the window. To keep at most windowRows it
// drops rows at the front; when the cursor, at, is near them, it drops the new ones
// instead. It returns by how much the indices of the rows have changed.
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

// prepend adds the page that comes before the window and begins after the cursor head,
// and drops rows at the end. It returns what append does.
func (w *window[T]) prepend(o order[T], page []T, head string, at int) int {
	moved := w.drop(o, page, at)
	w.rows, w.head = slices.Concat(page, w.rows), head
	if len(w.rows) > windowRows {
		w.rows, w.end = w.rows[:windowRows:windowRows], false
	}
	return moved + len(page)
}

// drop removes the rows that are in the page, too, having moved there since. It returns
// what append does.
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

// index returns the index of the row with that id, or -1.
func (w *window[T]) index(o order[T], id string) int {
	return slices.IndexFunc(w.rows, func(r T) bool { return o.id(r) == id })
}
