// Package order finds the tokens and users that an administrator's listings show, in
// their order.
//
// Most queries walk the table, shard by shard, and keep the first places of a page. One
// about a user, or with a long prefix, reads the tokens of the users from the index, and
// those with the prefix from one shard. So queries are exact without a sorted copy to
// maintain, and verification does no work for them. A walk over a million tokens takes 2 to
// 4 ms, and a search by text up to 100 ms. Every 50 µs it lets others run, so that the
// slowest of the verifications beside it take about as long as without it.
//
// Filters that ask for more than the table knows (see [Match]) need facts about each
// token: when it was created and ends, its texts and limits, the addresses where it was
// seen. These and the revoked tokens (together the facts), and the users by name, are read
// once, and kept. A token takes some 70 bytes. The facts and the users each have three
// states (see known):
//
//	not read --> being read --> there --> [Views.WriteFile], at a stop
//	   ^  one goroutine, slowly;  |
//	   |  up to four as soon as   |  only the facts: when most of their memory is no
//	   |  a query waits           v  longer used
//	   +--------------------------+
//
// They are read from the file that the last stop has left ([Views.Resume]), a million tokens
// in a quarter of a second. If there is none, or it does not verify, or anything has
// changed since, they are read from the index, in seconds: the file is a copy that may be
// missing at any time. An index that was put back alone, from a stop at the same position in
// the journal, lacks addresses that the file has, as it lacks last uses that the table's file has.
//
// A server reads all of that after its start ([Views.Run]), so that the first query finds
// it. Without a server, the first query reads it. Once the reading has begun, or from the
// start if there is a file, changes are noted:
//
//	writer   NoteToken              what was read of the token is old
//	writer   NoteUser               the new user
//	flusher  NoteUses               these tokens were used at these addresses
//	Run      when there are many    reads again what is old
//	query    Places, Count, Users   reads again what is old; walks the table
//	stop     Settle                 reads again what is old, as the file must lack nothing
//
// The package reads the table and, through [Index], the index. It writes nothing except that
// file, stores no records, and never decides who may see what.
package order
