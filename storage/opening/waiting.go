package opening

import "gatehouse/storage/disk"

// Loaded is closed when the table has all tokens and last uses.
func (o *Opening) Loaded() <-chan struct{} { return o.loaded }

// Opened is closed when every request is answered, or the opening has failed.
func (o *Opening) Opened() <-chan struct{} { return o.opened }

// Compared is closed when the index was compared with what it must contain, and matched.
func (o *Opening) Compared() <-chan struct{} { return o.compared }

// IsOpen reports whether every request is answered.
func (o *Opening) IsOpen() bool { return disk.IsClosed(o.opened) && o.err == nil }

// Err returns why the opening has failed, or nil if that is not known yet.
func (o *Opening) Err() error {
	if disk.IsClosed(o.opened) {
		return o.err
	}
	return nil
}

// Await waits until the store answers every request. It returns the reason when the
// opening fails, or [disk.ErrClosed].
func (o *Opening) Await() error {
	if disk.IsClosed(o.opened) {
		return o.err // also when the store is closing
	}
	select {
	case <-o.opened:
		return o.err
	case <-o.Closing:
		return disk.ErrClosed
	}
}

// AwaitTable waits until the table has all tokens. It returns the reason when that never
// happens.
func (o *Opening) AwaitTable() error {
	if disk.IsClosed(o.loaded) {
		return nil
	}
	select {
	case <-o.loaded:
		return nil
	case <-o.opened: // the table is loaded, or never will be
		return o.err
	case <-o.Closing:
		return disk.ErrClosed
	}
}
