// Package uses brings what uses leave in the table to where it lasts: at once to a log
// of its own, at leisure to the usage records of the index.
//
//	a verification        table      when, how often that day, from where
//	each second           log        what the table has and the index does not
//	passes                index      a token's usage record; the table then forgets it
//	after a stop or kill  log        what it has and the index does not goes to the index
//
// A listing adds up the table and the index, so it shows each use at once and once. It
// holds [Flusher.RLock] while it reads both.
//
// The package owns the files of the log. It reads and writes no other, knows nothing of
// the index except the one function that changes usage records, and never decides which
// tokens there are.
package uses
