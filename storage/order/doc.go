// Package order has the sorted views that an administrator pages through: all tokens by
// their last use or their creation, and all users by name, creation, tokens or last use.
//
// A view is made when somebody first looks, and let go ten minutes after the last look.
// Tokens take 34 bytes each, and 12 more while they are shown by their creation. While a
// view is there it is exact: the writer and the flusher note what changes, a look takes
// over what was noted, and what was used a moment ago is among the table's unsaved. A
// verification does nothing for any of this.
//
//	writer   NoteToken, NoteUser    what was made, changed or ended
//	flusher  NoteUses               what was used
//	look     Places, Count, Users   takes over what was noted, then reads
//
// The package reads the table, and the index through [Index]. It writes nothing, keeps
// no record, and never decides who may see what.
package order
