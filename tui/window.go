package tui

const (
	pageRows   = 200  // asked for at a time
	windowRows = 1000 // kept at most
	nearEdge   = 100  // rows from the edge at which the next page is asked for
	overlap    = 50   // rows asked for beyond a page, going back: what came in between
)

// order says how a listing names its rows.
type order[T any] struct {
	id     func(T) string // what the row is
	cursor func(T) string // where it stands, for the question "what comes after"
}

// window is the part of a listing that is in memory. The server pages forward
// only, so the window remembers where the pages ahead of it began.
type window[T any] struct {
	rows   []T
	head   string   // the cursor after which rows begin; empty at the start
	before []string // the same of the pages ahead, the nearest last
	offset int      // rows ahead: exact until the listing changes under it
	end    bool     // nothing comes after rows
}

// append adds rows that come after, drops those that stand in the window at an
// older place, and lets go of rows at the front to stay within bounds, but for
// the ones near at. It returns by how much the index of a row has changed.
func (w *window[T]) append(o order[T], rows []T, at int) int {
	again := make(map[string]bool, len(rows))
	for _, r := range rows {
		again[o.id(r)] = true
	}
	moved, kept := 0, w.rows[:0:0]
	for i, r := range w.rows {
		if !again[o.id(r)] {
			kept = append(kept, r)
		} else if i < at {
			moved--
		}
	}
	w.rows = append(kept, rows...)
	for len(w.rows) > windowRows {
		if at+moved < pageRows+nearEdge { // the reader went back meanwhile
			w.rows, w.end = w.rows[:windowRows:windowRows], false
			break
		}
		moved -= w.dropFront(o)
	}
	return moved
}

func (w *window[T]) dropFront(o order[T]) int {
	w.before = append(w.before, w.head)
	w.head = o.cursor(w.rows[pageRows-1])
	w.rows = append(w.rows[:0:0], w.rows[pageRows:]...)
	w.offset += pageRows
	return pageRows
}

// prepend adds the page that was asked for with the last of before. It returns
// by how much the index of a row has changed.
func (w *window[T]) prepend(o order[T], rows []T) int {
	last := len(w.before) - 1
	w.head, w.before = w.before[last], w.before[:last]
	if len(w.rows) > 0 {
		first := o.id(w.rows[0])
		for i, r := range rows {
			if o.id(r) == first {
				rows = rows[:i]
				break
			}
		}
	}
	w.rows = append(append(w.rows[:0:0], rows...), w.rows...)
	if w.offset -= len(rows); w.offset < 0 || last == 0 {
		w.offset = 0
	}
	if len(w.rows) > windowRows {
		w.rows, w.end = w.rows[:windowRows:windowRows], false
	}
	return len(rows)
}

// index returns where the row called id is, or -1.
func (w *window[T]) index(o order[T], id string) int {
	for i, r := range w.rows {
		if o.id(r) == id {
			return i
		}
	}
	return -1
}

// clone returns a window that shares nothing that may change.
func (w *window[T]) clone() window[T] {
	c := *w
	c.rows = append([]T(nil), w.rows...)
	c.before = append([]string(nil), w.before...)
	return c
}
