// Package order finds the tokens and users that an administrator's listings show, in
// their order.
//
// A query walks the table, shard by shard, and keeps the first places of a page. So it is
// exact without any bookkeeping, and verification does no work for it. A walk over a
// million tokens takes some 10 ms.
//
// Filters that ask for more than the table knows (see [Match]) need facts about each
// token, in columns: when it was created and ends, its texts and limits, the addresses
// where it was seen. A column is read from the index at the first query that needs it,
// and dropped ten minutes after the last one. Together they take some 70 bytes a token.
// The users by name, and the revoked tokens, are kept in the same way.
//
//	writer   NoteToken, NoteUser    what was read of a token or user is old
//	flusher  NoteUses               the addresses of these tokens are old
//	query    Places, Count, Users   walks the table; reads again what is old
//
// The package reads the table and, through [Index], the index. It writes nothing, stores
// no records, and never decides who may see what.
package order
