// Package storage owns the truth of Gatehouse: users, their identities, API
// access tokens, browser sessions, recent files, and when each token was last
// used. Policy that must be atomic with a write (one account per address, the
// number of tokens a user may hold) is decided here; who may ask for what is
// not.
//
// It never stores a usable credential. A token is derived from the keyring
// whenever it is shown (package keys), a cookie is stored as its SHA-256, a
// password as an argon2id hash sealed with a key of the keyring.
//
// # One writer
//
// Every change is a function that reads and puts within one transaction.
// A single goroutine (writer.go) runs all the changes that wait, commits them
// together, with one sync, and only then makes them visible to verification
// and answers the callers. So changes are serial, without a lock, and the cost
// of the disk's sync is shared by all who wait for it.
//
// # Two places to read from
//
// Verification reads the resident table (package table), which holds 32 bytes of
// each token that is not revoked. What is rare (scopes, addresses, expiry) and
// what is listed comes from Badger, the former from behind a bounded cache
// (limits.go). A clean stop and each checkpoint leave the table in a file
// from which the next start loads it, shard by shard and first the
// one that is asked for; after a kill the journal since brings it up. A server
// answers from that before it has verified and opened Badger (opening.go).
//
// # Uses
//
// A verification leaves in the table when the token was used last, how often that day,
// and from where. Package uses brings it to a log within a second, and at leisure to the
// usage records of the index. A listing adds up table and index, so it shows each use at
// once and once. What a stop had no time for, or a kill left in the log, is brought to
// the index after the next start.
//
// While an administrator looks, all tokens are also sorted (package order), in 34
// bytes each, and 12 more while they are shown by their creation; ten minutes
// after the last look that is let go. It follows each use and each change, so a
// page is found at once and is never out of date, and verification does nothing
// for it.
//
// # What is believed of Badger
//
// Nothing that can be looked at. Before it is opened its tables are verified
// (verify.go), because it answers from an older version, or with nothing, where
// a block is damaged. With each commit it is told how many records it should
// hold and the sum of their fingerprints (counts.go), and the journal has the
// same, so after a stop that was not clean one walk through it tells whether it
// has forgotten anything; then the records that it may have lost are brought in
// again (replay.go), and if that does not do, all of it is built anew. After a
// clean stop the walk comes behind, while requests are answered already. The
// uses, sessions, recent files and attempts are not in the journal: of these a kill
// takes a second, a power failure what the kernel had not yet written, and a
// rebuilding all that the checkpoint does not have.
package storage
