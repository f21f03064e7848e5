// Package uses makes the uses of tokens durable: it takes them from the table to a log
// of its own each second, and later to the usage records of the index.
//
//	a verification        table      when, how often that day, from where
//	each second           log        uses that the table has and the index does not
//	passes                index      a token's usage record; the table then forgets it
//	after a stop or kill  log        uses that it has and the index does not go to the index
//
// A listing adds up the table and the index, so it shows each use at once, and only once.
// It holds [Flusher.RLock] while it reads both.
//
// The package owns the files of the log, and never reads or writes others. It knows only one
// function of the index, which changes usage records. It never decides which tokens exist.
package uses
