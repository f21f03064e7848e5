package restore

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Ender is a change of a store that ends users and tokens.
type Ender interface {
	// EndUser applies an end to a user, and reports whether that ends the user.
	EndUser(record.UserID, record.UserEnd) (ended bool, err error)
	// EndToken applies an end to a token, and reports whether that revokes the token.
	EndToken(keys.ID, record.TokenEnd) (revoked bool, err error)
	// Notice adds what was told.
	Notice(record.Notice) error
	// Know adds what is known of a token.
	Know(keys.ID, record.Known) error
}

// Apply applies the ends of an older store to a store. change runs a function as one
// change of the store, possibly twice; each change applies up to most ends. After each
// change Apply calls progress with the number of ends applied so far, and gives up if it
// returns an error. Apply returns how many users and tokens it has ended.
func Apply(e record.Ends, most int, change func(fn func(Ender) error) error, progress func(done int) error) (n int, err error) {
	done := 0
	run := func(size int, fn func(Ender) (ended int, err error)) error {
		ended := 0
		err := change(func(to Ender) (err error) {
			ended, err = fn(to)
			return err
		})
		if err != nil {
			return err
		}
		n += ended
		done += size
		return progress(done)
	}
	users := slices.SortedFunc(maps.Keys(e.Users), cmp.Compare[record.UserID])
	for part := range slices.Chunk(users, most) {
		err := run(len(part), func(to Ender) (int, error) { return each(part, e.Users, to.EndUser) })
		if err != nil {
			return n, err
		}
	}
	byID := func(a, b keys.ID) int { return bytes.Compare(a[:], b[:]) }
	tokens := slices.SortedFunc(maps.Keys(e.Tokens), byID)
	for part := range slices.Chunk(tokens, most) {
		err := run(len(part), func(to Ender) (int, error) { return each(part, e.Tokens, to.EndToken) })
		if err != nil {
			return n, err
		}
	}
	notices := slices.SortedFunc(maps.Keys(e.Notices), func(a, b record.NoticeID) int { return bytes.Compare(a[:], b[:]) })
	for part := range slices.Chunk(notices, most) {
		err := run(len(part), func(to Ender) (int, error) {
			return each(part, e.Notices, func(_ record.NoticeID, n record.Notice) (bool, error) { return false, to.Notice(n) })
		})
		if err != nil {
			return n, err
		}
	}
	known := slices.SortedFunc(maps.Keys(e.Known), byID)
	for part := range slices.Chunk(known, most) {
		err := run(len(part), func(to Ender) (int, error) {
			return each(part, e.Known, func(id keys.ID, k record.Known) (bool, error) { return false, to.Know(id, k) })
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func each[K comparable, E any](part []K, all map[K]E, end func(K, E) (bool, error)) (n int, err error) {
	for _, id := range part {
		ended, err := end(id, all[id])
		if err != nil {
			return n, err
		}
		if ended {
			n++
		}
	}
	return n, nil
}
