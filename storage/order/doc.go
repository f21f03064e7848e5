// Package order has the sorted views for an administrator's listings: all tokens by
// their last use or their creation, and all users by name, creation, tokens or last use.
//
// A view is made at the first query, and dropped ten minutes after the last one. Tokens
// take 34 bytes each, and 12 more while they are shown by their creation. Filters that
// ask for more than the table knows (see [Match]) need a fact of each token, which takes
// some 45 bytes more. Facts are read from the index at the first such query and then
// kept as long as the view. The same holds for revoked tokens, if a query asks for them.
//
// A view is exact at each query. The writer and the flusher note what changes, and a
// query first processes the notes. A token that was used a moment ago is among the
// table's unsaved ones. Verification does no work for views.
//
//	writer   NoteToken, NoteUser    tokens and users that were created or changed
//	flusher  NoteUses               tokens that were used
//	query    Places, Count, Users   processes the notes, then reads
//
// The package reads the table and, through [Index], the index. It writes nothing, stores
// no records, and never decides who may see what.
package order
