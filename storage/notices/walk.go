package notices

import (
	"bytes"
	"errors"
	"sync"

	"gatehouse/storage/index"
)

// mostAtOnce is how many records a walk reads in one view. As long as a view is open, no
// uses are brought into the index.
const mostAtOnce = 5000

// Walk is a walk through all records of one kind, in the order of their keys. It goes on
// where it ended the last time. After the last record it ends, and begins again only
// after News.
type Walk struct {
	mu   sync.Mutex
	news bool   // a record may wait that this walk has not come to, and will not
	from []byte // where it goes on; nil: it has ended
}

// NewWalk returns a walk that is due.
func NewWalk() *Walk { return &Walk{news: true} }

// News makes the walk due: there may be a record that nobody has in memory. The record must
// be in the index already.
func (w *Walk) News() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.news = true
}

// Due reports whether there may be a record that the walk has not come to.
func (w *Walk) Due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.news || w.from != nil
}

// begin returns where to go on; ok is false if the walk is not due.
func (w *Walk) begin(kind byte) (from []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from == nil && !w.news {
		return nil, false
	}
	if w.from == nil {
		w.news, w.from = false, []byte{kind}
	}
	return w.from, true
}

// end notes where to go on; nil: the walk has ended. After an error it begins again.
func (w *Walk) end(next []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from = next
	if err != nil {
		w.news, w.from = true, nil
	}
}

var errEnough = errors.New("enough")

// on calls fn with the next records, until fn says that it has enough.
func (w *Walk) on(x Index, kind byte, fn func(key, value []byte) (enough bool, err error)) error {
	from, ok := w.begin(kind)
	if !ok {
		return nil
	}
	var next []byte
	err := x.View(func(v *index.View) error {
		n := 0
		return v.EachFrom([]byte{kind}, from, func(key, b []byte) error {
			key = bytes.Clone(key)
			n++
			enough, err := fn(key, b)
			if err == nil && (enough || n == mostAtOnce) {
				next, err = append(key, 0), errEnough
			}
			return err
		})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	w.end(next, err)
	return err
}
