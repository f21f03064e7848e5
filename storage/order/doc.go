// Package order finds the tokens and users that an administrator's listings show, in
// their order.
//
// A query walks the table, shard by shard, and keeps the first places of a page. So it is
// exact without any bookkeeping, and verification does no work for it. A walk over a
// million tokens takes some 10 ms.
//
// Filters that ask for more than the table knows (see [Match]) need facts about each
// token: when it was created and ends, its texts and limits, the addresses where it was
// seen. These, the revoked tokens and the users by name are read from the index once, and
// kept. A token takes some 70 bytes. Each of the two has three states (see known):
//
//	not read --> being read --> there
//	   ^  one goroutine, slowly;  |
//	   |  all of them as soon     |  few of the texts in memory are still used
//	   |  as a query waits        v
//	   +--------------------------+
//
// A server has all of that read after its start ([Views.Run]), so that the first query
// finds it. Without a server, the first query reads it. Once the reading has begun, changes
// are noted:
//
//	writer   NoteToken, NoteUser    what was read of a token or user is old
//	flusher  NoteUses               these tokens were used at these addresses
//	Run      when there are many    reads again what is old
//	query    Places, Count, Users   reads again what is old; walks the table
//
// The package reads the table and, through [Index], the index. It writes nothing, stores
// no records, and never decides who may see what.
package order
