package text

import (
	"bufio"
	"io"
	"strings"
)

// tableBlock is how many rows are held back to find the widths of columns.
const tableBlock = 500

// Table writes rows as aligned columns, as text/tabwriter does, but measures
// by grapheme, escapes the cells, and holds back a block of rows only: a
// listing of millions passes through. A later block may widen a column.
type Table struct {
	w      *bufio.Writer
	widths []int
	rows   [][]string
}

// NewTable returns a table that starts with the row of heads.
func NewTable(w io.Writer, heads ...string) *Table {
	t := &Table{w: bufio.NewWriter(w), widths: make([]int, len(heads))}
	t.rows = append(t.rows, escaped(heads))
	return t
}

// Row adds a row with as many cells as there are heads. Its error is also the next Flush's.
func (t *Table) Row(cells ...string) error {
	t.rows = append(t.rows, escaped(cells))
	if len(t.rows) < tableBlock {
		return nil
	}
	return t.Flush()
}

// Flush writes the rows held back.
func (t *Table) Flush() error {
	for _, row := range t.rows {
		for i, c := range row {
			t.widths[i] = max(t.widths[i], Width(c))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			line.WriteString(c + pad(t.widths[i]-Width(c)+2))
		}
		t.w.WriteString(strings.TrimRight(line.String(), " ") + "\n") // bufio keeps the error for Flush
	}
	t.rows = t.rows[:0]
	return t.w.Flush()
}

func escaped(cells []string) []string {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = Escape(c)
	}
	return row
}
