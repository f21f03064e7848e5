// Package table is the resident table, which verification reads: every token that is
// not revoked, in 32 bytes, and for every user what each request must know. It is a
// projection of the journal. It knows its [Table.Position], the changes after that are
// applied to it, and it is loaded from a [File] that may be older than the journal.
//
//	Open            the file of the last stop or checkpoint; its head has its position
//	File.Users      the users
//	Loader.CatchUp  the changes after that position, from the journal: a token is there at once,
//	                even if its shard is not loaded
//	File.Load       loads a shard, in the background, or when a token in it is needed; what
//	                CatchUp, Put and Remove did before stays (Table.Load adds a single
//	                token in the same way)
//	Table.Whole     all shards are there: a token that is not in the table is dead
//
// The table also gathers the uses of each token: when it was used last, how often that
// day, and from where. Package uses takes them from here to the log of uses and to the index.
//
// It is cut into shards by the id's first random byte. A shard's lock is held only for
// the work on one token. The table never opens the journal or the index, never decides
// whether a token may be used, and never waits for a disk, except in Lookup while the
// table is being loaded.
package table
