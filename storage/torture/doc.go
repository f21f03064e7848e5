// Command torture breaks stores and looks whether they have kept their word.
//
//	go run ./storage/torture kill  [--rounds N] [--dir D] [--seed S] [--checkpoints D]
//	go run ./storage/torture power [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture abort [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture rot   [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture mix   [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture restores [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture clock [--rounds N] [--dir D] [--seed S]
//
// In each, a child process opens a store and lets eight writers create, use and
// revoke tokens and disable and enable users. Each writer says through a pipe
// what it is about to do and, once the store has answered, that it is done. So
// this process, which outlives it, keeps a ledger of what was acknowledged and
// of the at most eight changes that were in flight. After the accident it opens
// the store and compares everything with the ledger: each token that was
// acknowledged authenticates for its owner and is listed, and counts among
// those that its user may hold; each that was revoked is refused; users resolve
// and have their state; the audit log verifies and has an event of each
// acknowledged change. What was in flight may have happened or not, but not by
// half.
//
// kill sends SIGKILL at a random moment, also while the store is being opened,
// made, checkpointed or pruned (the child's clock runs ahead by ten days a
// round, so that all of it happens). With --checkpoints 1s, each child makes one every
// second. A use that was answered more than a second before the kill must be in its
// token's last use. The page cache survives a kill, so this shows nothing about
// missing syncs.
//
// power shows missing syncs. The store lies in an ext4 file system in a file,
// mounted through a loop device. The child is stopped at a random moment, and the
// file system is shut down without a last write of its log (EXT4_IOC_SHUTDOWN with
// NOLOGFLUSH, which is how xfstests cuts the power). What was not synced is gone,
// except what the kernel had already written back by itself. A third of the rounds
// provoke that by a sync at a random moment. Then the file system is mounted
// again, which replays its log. This does not show a disk that loses what it was
// told to flush, or that tears a sector; the journal's own tests have such a disk.
// A plain Badger in it, with SyncWrites off and on, shows that the instrument
// works. It needs root and a loop device.
//
// abort takes the disk away: the same file system is remounted as the kernel does it
// when a device is gone (remount,abort), after which writes fail, or is shut down, after
// which each call fails. The child goes on, as a server does, with what
// is not in the journal. Some time later it is told to stop. It must end within 30 seconds, with the exit status 1,
// and say why. Then the disk is there again, and nothing that was acknowledged may be
// missing, except for uses. It needs root and a loop device.
//
// rot flips one bit in one byte of a copy of a store that was killed, or closed,
// and opens it in a child process. Half of the flips are uniform over all bytes
// of all files, except holes and the ballast; in the other half each kind of
// file gets its share. The store must either give every right answer, or refuse
// with an error that names the file, and the offset in the journal. Until it has
// noticed the damage, an error is a right answer too; the next opening must then
// heal it.
//
// mix takes some of journal, index, table, checkpoint and log of uses from one moment
// of a store and the rest from another, as when a part of a directory is put back
// from a copy. Some of the moments are after a kill, some after a stop. The result
// must be what its journal says, at once and after another start, or be refused with
// an error that says what to do: nothing that has ended may be back because two old
// files agree with each other.
//
// restores lets one store create, revoke and rotate tokens, and disable, enable and
// remove users, makes backups of it, and restores random ones of the ten latest over it,
// after a stop and over what a kill leaves. After each, every secret that there ever was
// is asked for: what any of the stores involved knew to have ended is dead, and what
// should live does.
//
// clock sets the clock of a store to something else, by hours or by years, forward, back
// and before 1970, and right again within a day, while tokens are made and used, idle ones
// are swept up as the server does, and the store is stopped, killed, or its computer
// started again. No token may be revoked much before it is idle, or never, and none may
// be shown with a time still to come, or, once the clock is right, with another last use
// than it had.
//
// The last line says whether all held; the exit status is 1 when not.
package main
