package listing

import "slices"

const (
	PageRows   = 200  // asked for at a time
	WindowRows = 1000 // kept at most
	nearEdge   = 100  // rows from the edge at which the next page is asked for
)

// Order identifies the rows of a listing.
type Order[T any] struct {
	ID     func(T) string // what the row is
	Cursor func(T) string // where it stands, for the question "what comes after"
}

// window is the part of a listing that is in memory.
type window[T any] struct {
	rows []T
	head string // the cursor after which rows begin; empty at the start of the listing
	from int    // how many rows come before them, about; less than 0: not known
	end  bool   // nothing comes after rows
}

// whole reports whether the window is all of the listing.
func (w *window[T]) whole() bool { return w.head == "" && w.end }

// append adds the page that comes after the window. To keep at most WindowRows it
// drops rows at the front; when the cursor, at, is near them, it drops the new ones
// instead. It returns by how much the indices of the rows have changed.
func (w *window[T]) append(o Order[T], page []T, at int) int {
	moved := w.drop(o, page, at)
	w.rows = append(w.rows, page...)
	over := len(w.rows) - WindowRows
	if over <= 0 {
		return moved
	}
	if at+moved < over+nearEdge { // the reader has gone back since
		w.rows, w.end = w.rows[:WindowRows:WindowRows], false
		return moved
	}
	w.head = o.Cursor(w.rows[over-1])
	w.skip(over)
	w.rows = slices.Clone(w.rows[over:])
	return moved - over
}

// prepend adds the page that comes before the window and begins after the cursor head,
// and drops rows at the end. It returns what append does.
func (w *window[T]) prepend(o Order[T], page []T, head string, at int) int {
	moved := w.drop(o, page, at)
	w.rows, w.head = slices.Concat(page, w.rows), head
	w.skip(-len(page))
	if len(w.rows) > WindowRows {
		w.rows, w.end = w.rows[:WindowRows:WindowRows], false
	}
	return moved + len(page)
}

// skip counts the rows that the window leaves behind, or takes back.
func (w *window[T]) skip(n int) {
	switch {
	case w.head == "":
		w.from = 0
	case w.from >= 0:
		w.from = max(w.from+n, 0)
	}
}

// drop removes the rows that are in the page, too, having moved there since. It returns
// what append does.
func (w *window[T]) drop(o Order[T], page []T, at int) (moved int) {
	elsewhere := make(map[string]bool, len(page))
	for _, r := range page {
		elsewhere[o.ID(r)] = true
	}
	kept := make([]T, 0, len(w.rows)+len(page))
	for i, r := range w.rows {
		if !elsewhere[o.ID(r)] {
			kept = append(kept, r)
		} else if i < at {
			moved--
		}
	}
	w.rows = kept
	return moved
}

// index returns the index of the row with that id, or -1.
func (w *window[T]) index(o Order[T], id string) int {
	return slices.IndexFunc(w.rows, func(r T) bool { return o.ID(r) == id })
}
