package storage

import (
	"context"
	"time"
)

// await waits until the store answers every request. It returns the reason when the
// opening fails, or ErrClosed.
func (o *opening) await() error {
	if isClosed(o.opened) {
		return o.err // also when the store is closing
	}
	select {
	case <-o.opened:
		return o.err
	case <-o.s.closing:
		return ErrClosed
	}
}

// awaitTable waits until the table has all tokens. It returns the reason when
// that never happens.
func (o *opening) awaitTable() error {
	select {
	case <-o.loaded:
		return nil
	default:
	}
	select {
	case <-o.loaded:
		return nil
	case <-o.opened: // the table is loaded, or never will be
		return o.err
	case <-o.s.closing:
		return ErrClosed
	}
}

// waitLoaded is how long WhenLoaded waits.
const waitLoaded = 5 * time.Second

// WhenLoaded waits up to waitLoaded for the table to have all tokens, and reports
// whether it has them.
func (s *Store) WhenLoaded() bool {
	select {
	case <-s.opening.loaded:
		return true
	default:
	}
	select {
	case <-s.opening.loaded:
		return true
	case <-s.closing:
	case <-time.After(waitLoaded):
	}
	return false
}

// Opened waits until a store that was opened early is completely open. It returns
// ErrOpening when the context ends first. Any other error says that the store can't be
// opened: the caller should then close the store.
func (s *Store) Opened(ctx context.Context) error {
	select {
	case <-s.opening.opened:
		return s.opening.err
	default:
	}
	select {
	case <-s.opening.opened:
		return s.opening.err
	case <-ctx.Done():
		return ErrOpening
	}
}

// IsOpen reports whether all of the store is open.
func (s *Store) IsOpen() bool { return isClosed(s.opening.opened) && s.opening.err == nil }

// failed returns why the store can't be opened, if that is known.
func (o *opening) failed() error {
	if isClosed(o.opened) {
		return o.err
	}
	return nil
}
