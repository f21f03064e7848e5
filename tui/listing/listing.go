// Package listing is a long listing on a terminal: a window of its rows, the cursor in
// it, the columns that the rows are drawn in, and the words that filter it.
//
// A listing may have a million rows. A List keeps at most WindowRows of them, asks for
// the page that comes next before the cursor is there, and remembers the moves that have
// to wait for it:
//
//	Move, Page, Home, Bottom, Restart, Refresh
//	  |     a question: first, next, prev, last, again; the one before it is given up
//	  v
//	Source  reads a Spot of the listing, beside the program
//	  |     the rows come back as a message, an Answer
//	  v
//	Take    drops the answer if it is not to the latest question; else puts the rows
//	        into the window, with the cursor on the row that it was on, and makes the
//	        moves that waited
//
// It owns the window, the cursor, the scroll position, the order and the widths of the
// columns, the parts of a listing that has some, and how a word of the query line is
// completed. It never asks a server itself, never colours anything, and knows nothing of
// screens, keys and boxes: a screen gives it the Source, draws what it returns, and passes
// the messages on.
package listing
