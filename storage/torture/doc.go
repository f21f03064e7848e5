// Command torture breaks stores and checks that they have kept their promises.
//
//	go run ./storage/torture kill  [--rounds N] [--dir D] [--seed S] [--checkpoints D]
//	go run ./storage/torture power [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture abort [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture rot   [--rounds N] [--dir D] [--seed S]
//	go run ./storage/torture clock [--rounds N] [--dir D] [--seed S]
//
// In each, a child process opens a store and lets eight writers create, use and
// revoke tokens and disable and enable users. Each writer reports through a
// pipe what it is about to do and, once the store has answered, that it is
// done. So this process, which outlives the child, keeps a ledger of the
// acknowledged changes and of the at most eight changes in flight. After the
// accident it opens the store and compares everything with the ledger. Each
// acknowledged token authenticates for its owner, is listed, and counts towards
// its user's limit. Each revoked token is refused. Users resolve and have their
// state. The audit log verifies and has an event for each acknowledged change.
// A change in flight may or may not have happened, but never in part.
//
// kill sends SIGKILL at a random moment, including moments when the store is being
// opened, created, checkpointed or pruned (the child's clock runs ahead by ten days a
// round, so that all of this happens). With --checkpoints 1s, each child makes one
// every second. A use that was answered more than a second before the kill must be in
// its token's last use. The page cache survives a kill, so this shows nothing about
// missing syncs.
//
// power shows missing syncs. The store lies in an ext4 file system in a file,
// mounted through a loop device. The child is stopped at a random moment, and the
// file system is shut down without a last write of its log (EXT4_IOC_SHUTDOWN with
// NOLOGFLUSH, which is how xfstests cuts the power). Data that was not synced is
// gone, except data that the kernel had already written back by itself. A third of
// the rounds provoke that with a sync at a random moment. Then the file system is
// mounted again, which replays its log. This does not cover a disk that loses data
// that it was told to flush, or that tears a sector; the journal's own tests have
// such a disk. A file that is written just before and never synced shows that the power
// does fail: some round must lose it. power needs root and a loop device.
//
// abort takes the disk away. The same file system is remounted as the kernel does when a
// device is gone (remount,abort), after which writes fail, or it is shut down, after
// which every call fails. The child goes on, as a server does, with work that is not in
// the journal. Some time later it is told to stop. It must end within 30 seconds, with
// the exit status 1, and say why. Then the disk returns, and nothing that was
// acknowledged may be missing, except uses. abort needs root and a loop device.
//
// rot flips one bit in one byte of a copy of a store that was killed, or closed,
// and opens it in a child process. Half of the flips are uniform over all bytes
// of all files, except holes and the ballast; in the other half each kind of
// file gets its share. The store must either give every right answer, or refuse
// with an error that names the file, and the offset in the journal. Until the
// store has noticed the damage, an error is a right answer too; the next opening
// must then heal it.
//
// clock sets the clock of a store wrong, by hours or by years, forward, back and before
// 1970, and right again within a day. In the meantime tokens are created and used, idle
// ones are swept as the server does, and the store is stopped or killed, or its computer
// restarted. No token may be revoked much before it is idle, and every idle token must be
// revoked in the end. No token may be shown with a time in the future or, once the clock
// is right, with a wrong last use.
//
// The last line says if the store kept all promises; if not, the exit status is
// 1.
package main
