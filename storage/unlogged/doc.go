// Package unlogged owns the data that is only in the index and not in the journal: browser
// sessions, recent files, and values that are kept under a name for a while, such as
// failed logins.
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

// Index is access to the index. Errors of Update are those of disk.NotWritten.
type Index interface {
	// Writable returns why changes are impossible; nil: they are possible.
	Writable() error
	View(fn func(*index.View) error) error
	Update(fn func(*index.Update) error) error
}
