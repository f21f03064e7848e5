package restore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/restore"
)

// target notes what is ended. It refuses the user or token of that name.
type target struct {
	ended  []string
	refuse string
}

var errRefused = errors.New("refused")

func (to *target) end(name string, ended bool) (bool, error) {
	if name == to.refuse {
		return false, errRefused
	}
	to.ended = append(to.ended, name)
	return ended, nil
}

func (to *target) EndUser(id record.UserID, end record.UserEnd) (bool, error) {
	return to.end(fmt.Sprint("user ", id), end.State != record.UserActive)
}

func (to *target) EndToken(id keys.ID, end record.TokenEnd) (bool, error) {
	return to.end(fmt.Sprint("token ", id[1]), end.Revoked != 0)
}

func (to *target) Notice(n record.Notice) error {
	_, err := to.end("notice "+string(n.ID[0]), false)
	return err
}

func (to *target) Know(id keys.ID, _ record.Known) error {
	_, err := to.end(fmt.Sprint("known ", id[1]), false)
	return err
}

// Apply applies users before tokens, each in order, and not more in one change than the
// bound. When a change fails, Apply reports what the changes before it have ended.
func TestApply(t *testing.T) {
	ends := record.NewEnds()
	for n := range byte(5) {
		ends.Tokens[keys.ID{1, n}] = record.TokenEnd{Revoked: int64(n)} // 0 is not revoked
	}
	ends.Users[2] = record.UserEnd{State: record.UserRemoved}
	ends.Users[1] = record.UserEnd{State: record.UserActive}
	for _, c := range []struct {
		name, refuse string
		twice        bool  // each change is run twice, as the writer may
		stop         int   // progress returns an error at this number
		changes      []int // the number of ends in each
		n            int
		err          error
	}{
		{name: "whole", changes: []int{2, 2, 2, 1}, n: 5},
		{name: "each change twice", twice: true, changes: []int{2, 2, 2, 1}, n: 5},
		{name: "a token is refused", refuse: "token 3", changes: []int{2, 2}, n: 2, err: errRefused},
		{name: "a user is refused", refuse: "user 1", err: errRefused},
		{name: "interrupted", stop: 4, changes: []int{2, 2}, n: 2, err: errRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []string
			var changes []int
			last := 0
			n, err := restore.Apply(ends, 2, func(fn func(restore.Ender) error) error {
				to := &target{refuse: c.refuse}
				if c.twice {
					if err := fn(&target{}); err != nil {
						return err
					}
				}
				if err := fn(to); err != nil {
					return err
				}
				all, changes = append(all, to.ended...), append(changes, len(to.ended))
				return nil
			}, func(done int) error {
				if last = done; done == c.stop {
					return errRefused
				}
				return nil
			})
			if n != c.n || !errors.Is(err, c.err) || !slices.Equal(changes, c.changes) || last != len(all) {
				t.Errorf("got %d, %v, with changes of %d and the progress %d, want %d, %v, %d", n, err, changes, last, c.n, c.err, c.changes)
			}
			if want := []string{"user 1", "user 2", "token 0", "token 1", "token 2", "token 3", "token 4"}; !slices.Equal(all, want[:len(all)]) {
				t.Errorf("got %q", all)
			}
		})
	}
}
