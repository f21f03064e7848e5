// Package storage owns the truth of Gatehouse: users, their identities, API
// access tokens, browser sessions, recent files, and when each token was last
// used. It decides the policy that must be atomic with a write: one account per
// address, the number of tokens a user may hold. It never decides who may ask for
// what, and never stores a usable credential.
//
// A token is derived from the keyring whenever it is shown (package keys). A cookie
// is stored as its SHA-256, a password as an argon2id hash sealed with a key of the
// keyring.
//
// [Store] is the domain: its exported methods are the operations on users and
// tokens. Below it are packages that do not know Store, and the types that join
// them:
//
//	journal    the truth, and the audit log: each change is appended here first
//	table      projection 1: what verification reads, in memory
//	index      projection 2: what listings and rare reads need, in Badger
//	uses       how the last uses come from the table to the index
//	read       users and tokens as of one moment, from both
//	order      which tokens and users a listing shows, and in which order
//	sealed     the files in which a stop leaves the table, and what queries ask for
//	grants     tokens to ask OAuth providers about people; not in the journal and not in backups
//	verify     finds the user that a token speaks for
//	checkpoint the store as one file, from which the index is filled again; backups
//	writer     runs the changes, appends them to the journal, and applies them to both projections
//	unlogged   sessions, recent files and failed logins, which are in the index alone
//	opening    takes a store from its files to the point where it answers every request
//	stopping   closes it again (stopping.go)
//	upkeep     the work of each second (upkeep.go)
//
// # Where to look
//
//   - What happens between kill -9 and the next answer: storage/opening/opening.go.
//   - Where a revocation becomes durable: [Store.RevokeTokens], or [Store.RevokeMatching]
//     for a filter, calls takeAway, which hands a change to [writer.Writer.Do] (change.go);
//     commitSome in storage/writer/commit.go appends it to the journal, which syncs, and only
//     then takes the token out of the table and answers.
//   - Where lastUsed is kept: in the table (slot.used). [Store.Authenticate] sets it
//     ([table.Table.Touch]).
//   - Where lastUsed is flushed: upkeep.tick has [uses.Flusher.Tick] write it to the log of
//     uses within a second, and move it to the index later. Before the store is open, tick
//     calls [uses.Flusher.Save] instead, which writes to that log alone.
//   - What verification checks, and in which order: [verify.Verifier.Verify].
//   - What the keys of the index contain: package record.
//
// # Two projections
//
// Verification reads the table, which holds 32 bytes of each token that is not revoked.
// Listings read the index. Verification reads it too, through a bounded cache (package
// verify), for attributes that few tokens have (scopes, addresses, expiry, rotation). Both
// projections are made from the journal. Each knows its position, the last record that it
// contains. Each can apply later records, and can load an older copy of itself from its
// files. When a projection and the journal disagree, the journal is right.
//
// Uses, sessions, recent files and expiring values ([Store.Expiring]) are not in the
// journal. A kill loses about the last second of the uses and the values; while the disk is
// short or the index is behind, it loses all of them since that began. A session's last
// visit is written at most once a minute. A power failure loses what the kernel had not yet
// written.
//
// A stop also leaves what queries ask for (the file "facts", see package order). It is used
// only if the journal and the log of uses end where that stop has left them and it closed
// the index, and it is removed before anything changes. Everything in it is in the index and
// the log of uses too.
//
// An index that is filled again has uses and recent files as of the last checkpoint, and
// the uses that are still in their log. It has no sessions and no expiring values, such as
// failed logins, the directory's settings at the last sweep, and the note that changes by
// SCIM are held.
package storage
