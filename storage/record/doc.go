// Package record owns how the store's data are written: what each kind of record contains,
// its key, its bytes, and which values are allowed. A change of these is a change of the
// store's format. The package never reads or writes a file, never seals anything, and
// knows nothing about what is stored or who asks.
//
// # Keys
//
// These are the keys of the index, and of the operations in the journal:
//
//	u <user 8>                            User             sealed
//	n <folded uid>                        its user's id    hint
//	i <source> 0 <subject>                its user's id    hint
//	i 0 <owner or successor 8> <user 8>                    hint: service accounts by person
//	t <token 14>                          Token            sealed
//	l <token 14>                          UsageRecord      sealed
//	e <token 14> or <user 8>              TokenEnd or UserEnd of one without a record   sealed
//	o <user 8> <revoked 1> <ms 8> <order 2> <token 14>     hint: tokens by owner
//	s <SHA-256 of the cookie 32>          Session          sealed, ends by itself
//	w <user 8> <-ms 8>   <SHA-256 32>     hint: sessions by owner, the latest first; ends by itself
//	r <user 8> <slot 1>                   File             sealed
//	x <notice 16>                         Notice           sealed
//	k <token 14>                          Known            sealed
//	c <token 14> <network>                Sighting         sealed, until it is told
//	f <HMAC of the name 32>               value kept under a name, such as failed logins: sealed, ends by itself
//	m <name>                              what the index and the journal say about themselves
//
// A sealed value carries an HMAC over its key and itself (keys.Seals): a flipped
// bit or an edited record is an error, never a wrong answer. A hint is checked
// against the record that it names.
package record
