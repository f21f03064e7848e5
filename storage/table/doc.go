// Package table is the resident table, which verification reads: every token that is
// not revoked, in 32 bytes, and of every user what each request must know. It is a
// projection of the log. It knows its [Table.Position], the changes after that are
// applied to it, and it is loaded from a [File] that may be older than the log.
//
//	Open    the file of the last stop or checkpoint; its head says of which position it is
//	Users   the users, and with them the tokens that the changes after that position name
//	Put     applies a change: the token is there at once, also if its shard is not
//	Load    a shard, in the background, or when a token in it is asked for; what Put and
//	        Remove did before stays
//	Whole   all of it is there: a token that is not in the table is dead
//
// The table also gathers what the uses of a token leave behind: when it was used last,
// how often that day, and from where. Package uses takes it from here to its log and to
// the index; what is neither here nor there does not exist.
//
// It is cut into shards by the id's first random byte. A shard's lock is held for as
// long as it takes to look at one token. The table never reads the log or the index,
// never decides whether a token may be used, and, except in Lookup while it is loaded,
// never waits for a disk.
package table
