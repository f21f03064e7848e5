// Package journal is an append-only log of the changes that a store has
// promised: each change is written here and made durable before anybody learns
// that it happened. It is the store's truth and its audit log at the same time.
//
// The package owns the files of one directory and nothing else. It never looks
// into a payload, never groups callers (its one writer does), never retries a
// failed write or sync, never reuses space that held something before, and
// never drops a byte that may have been acknowledged: it refuses data that it
// cannot read, and names the file and the offset.
//
// # Files
//
// A journal is a row of segments, 0000000001.seg, 0000000002.seg and so on,
// without gaps. Each is allocated in full when it is made, so that a write
// changes no file size and a full disk cannot stop it. Behind the segment in
// use one more is kept ready, blank: the reserve. Appends that are not
// essential never begin without a whole blank segment ahead of them; essential
// ones (revocations) may use it up. All numbers are little endian.
//
//	segment   header sector | batch | batch | ... | zeros
//	batch     1 or more sectors: everything that one Append wrote
//	sector    512 bytes: stamp 16 | body 496
//	stamp     CRC-32C of the other 508 bytes 4
//	          sectors in this batch 2 (0 in a header) | place in it 2
//	          sequence of the batch's first record 8
//	header    the body of a segment's first sector:
//	          "GATEJRNL" 8 | version 4 | segment number 8 | segment size 8
//	          time of its beginning in ms 8 | chain value 32 | MAC 32 | zeros
//	batch's   bytes of records 4 | number of records 4 | previous MAC 32
//	bodies    MAC 32 | records | zeros to the end of the last sector
//	record    bytes that follow 4 | time in ms 8 | length of actor 2
//	          actor | payload
//
// A MAC is HMAC-SHA-256 in full, because it is also the audit log's evidence
// and in a padded sector its length costs nothing. A batch's MAC covers the
// MAC before it, so the batches form a chain; the header repeats the chain's
// value at the start of its segment, so the chain can be checked from the
// first segment that pruning has left. The chain begins with 32 random bytes,
// so segments of two journals under one key can't be mixed. One MAC serves a
// batch, not a record, because a batch is what is written, torn and
// acknowledged as one. Sequence numbers count up by one; a batch stores its
// first, so there is no way to write a gap.
//
// # The tear rule
//
// A batch is written by one write, with the header before it if it opens a
// segment, and then synced once. The next is not begun before that sync has
// returned. So a power failure can harm only the last batch, and only in one
// way: any subset of its sectors has reached the disk, and the others are
// unchanged, which means zeros, because space is never reused. Hence:
//
//   - Nothing but zeros after the last good batch: a clean end.
//   - After the last good batch only sectors of one further batch, each of them
//     whole by its CRC and with the expected sequence and place, and at least
//     one of that batch's sectors (or its segment's header) all zeros: that
//     write never completed, so nobody was told that it had. It is a torn batch,
//     and is cut off, that is, overwritten with zeros.
//   - Anything else is damage: a sector that is neither zeros nor whole, a
//     batch with all sectors in place and a wrong MAC, something after the
//     end, a gap in the chain. It is refused with a CorruptError.
//
// A flipped bit can't turn a written sector into zeros (its stamp alone has
// more than one byte that isn't zero), so rot never passes for a tear, and an
// acknowledged batch is never cut off because of it. One case remains: a disk
// that returns a whole, synced sector of the very last batch as zeros. For that
// case the caller passes in Options.Known the highest sequence that its index
// has seen. A journal that ends before it is refused, torn or not.
//
// All of this is about accidents. An attacker who edits the files and corrects the
// CRCs, but lacks the key, can't change or forge a record. He can make the last
// batch look torn, or put back an older copy of the directory. Only Known detects
// either.
//
// The rule assumes that a disk writes 512 bytes atomically. On a disk that
// doesn't, a torn batch may look like damage: the journal is then refused
// although the batch could have been cut off, but never the other way round.
//
// A batch that is whole on disk although its Append failed stays: it may have
// been made durable, and the error told the writer only that the outcome is
// unknown. Open writes the last batch again, with the same bytes, and syncs it,
// because after a failed sync the page cache may show what the disk does not
// have.
package journal
