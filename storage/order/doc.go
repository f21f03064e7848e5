// Package order has the sorted views that an administrator pages through: all tokens by
// their last use or their creation, and all users by name, creation, tokens or last use.
//
// A view is made when somebody first looks, and dropped ten minutes after the last look.
// Tokens take 34 bytes each, and 12 more while they are shown by their creation. A view
// is exact at each look. The writer and the flusher note what changes, and a look takes over what
// was noted. What was used a moment ago is among the table's unsaved uses. Verification
// does no work for views.
//
//	writer   NoteToken, NoteUser    what was made, changed or ended
//	flusher  NoteUses               what was used
//	look     Places, Count, Users   takes over what was noted, then reads
//
// The package reads the table, and the index through [Index]. It writes nothing, keeps
// no record, and never decides who may see what.
package order
