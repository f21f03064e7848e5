package storage

import (
	"context"
	"time"
)

// await waits until everything is answered. It returns why it can't be, or ErrClosed.
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

// awaitTable waits until the table has all tokens. It returns why it never will.
func (o *opening) awaitTable() error {
	select {
	case <-o.loaded:
		return nil
	default:
	}
	select {
	case <-o.loaded:
		return nil
	case <-o.opened: // then it is loaded, or never will be
		return o.err
	case <-o.s.closing:
		return ErrClosed
	}
}

// waitLoaded is how long WhenLoaded waits.
const waitLoaded = 5 * time.Second

// WhenLoaded waits a little for the table to have all tokens; false when it has not.
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

// Opened waits until a store that was opened early is open in full, or the context ends,
// which is ErrOpening. Another error says that it can't be opened: the caller should then
// closeAll the store.
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

// failed is why the store can't be opened, if that is known.
func (o *opening) failed() error {
	if isClosed(o.opened) {
		return o.err
	}
	return nil
}
