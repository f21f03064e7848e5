// Package unlogged owns what is in the index alone and not in the log: browser sessions,
// the files that users opened last, and what is remembered of logins.
//
// These change all the time and prove nothing later. So they must not fill the audit log,
// and nobody waits for the disk because of them. The price is that a power failure loses
// what the kernel had not yet written, and that an index that is filled again has the
// files as of the last checkpoint, and no sessions.
//
// The package never decides anything about users: callers say who is active.
package unlogged

import (
	"gatehouse/storage/index"
)

// Index is the index, as far as it is open and can be written. Errors of Update are those
// of disk.NotWritten.
type Index interface {
	// Writable says why no change can be made; nil: one can.
	Writable() error
	View(fn func(*index.View) error) error
	Update(fn func(*index.Update) error) error
}
