package notify

import (
	"errors"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/notify/wording"
	"gatehouse/storage"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
)

const (
	atATime = 500              // tokens of one look
	later   = time.Hour        // when a token of a suspended user is looked at again
	soon    = 10 * time.Second // when the store is tried again
)

// endings makes the notices of tokens that end soon, one at each step of before_expiry. If
// the server was down, only the latest step gets one: nobody needs the others.
func (s *Notifier) endings(now time.Time) error {
	ends := s.Store.Notices().Deadlines
	for room := s.room(); room > 0; room -= atATime {
		due, err := ends.Due(now.UnixMilli(), min(room, atATime))
		if err != nil || len(due) == 0 {
			return err
		}
		again := func() { // another walk through all tokens each second would hurt a store in trouble
			for _, id := range due {
				ends.Again(id, now.Add(soon).UnixMilli())
			}
		}
		var drafts []notices.Draft
		var tokens []storage.Token
		for _, id := range due {
			t, d, err := s.ending(id, now)
			switch {
			case errors.Is(err, storage.ErrNoToken):
				continue
			case err != nil:
				again()
				return err
			}
			if d != nil {
				drafts = append(drafts, *d)
			}
			tokens = append(tokens, t)
		}
		if err := s.post("before_expiry", drafts...); err != nil {
			again()
			return err
		}
		for _, t := range tokens {
			if t.OwnerState != storage.UserActive {
				ends.Again(t.ID, now.Add(later).UnixMilli())
			} else {
				ends.Note(t.ID, t.Created, t.Ends(), now.UnixMilli())
			}
		}
	}
	return nil
}

// ending returns a token that was due, and the notice of its end unless there is none to
// send now. It returns ErrNoToken if the token needs no further look.
func (s *Notifier) ending(id storage.ID, at time.Time) (t storage.Token, d *notices.Draft, err error) {
	now := at.UnixMilli()
	if t, err = s.Store.Token(id); err != nil {
		return t, nil, err
	}
	end := t.Ends()
	if t.Dead() || end == 0 || end <= now {
		return t, nil, storage.ErrNoToken
	}
	step := s.Store.Notices().Step(t.Created, end, now)
	if step == 0 || t.OwnerState != storage.UserActive {
		return t, nil, nil
	}
	u, err := s.Store.UserByID(t.Owner)
	if err != nil {
		return t, nil, err
	}
	before := config.FormatSpan(time.Duration(step) * time.Millisecond)
	n, err := s.draft(wording.Event{
		Type: wording.TokenEnds, UID: u.UID, Token: id.String(), Name: t.Name, End: end, Before: before,
	}, t.Owner, id.String(), time.UnixMilli(end).String(), before)
	return t, &notices.Draft{
		Notice: n, Token: id,
		Learn: func(k *record.Known) bool {
			if k.Told(end, step) {
				return false
			}
			k.End, k.Before = end, step
			return true
		},
	}, err
}
