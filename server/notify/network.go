package notify

import (
	"errors"
	"time"

	"gatehouse/server/notify/wording"
	"gatehouse/storage"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
)

const (
	mostSightings = 200 // of one look
	mostADay      = 20  // new networks of one user: somebody with a token must not fill the audit log
)

// allowance is how many new networks of a user were recorded on a day.
type allowance struct {
	day int32
	n   int
}

// networks records the uses of tokens in new networks, and makes the notices. The store has
// found them while it saved the uses, so verifications do nothing for this.
func (s *Notifier) networks() error {
	room := s.room()
	if room == 0 {
		return nil
	}
	list, err := s.Store.Notices().Sightings.Waiting(min(room, mostSightings))
	if err != nil || len(list) == 0 {
		return err
	}
	var drafts []notices.Draft
	for _, one := range list {
		t, err := s.Store.Token(one.Token)
		if errors.Is(err, storage.ErrNoToken) {
			continue
		}
		if err != nil {
			return err
		}
		now, _ := s.Store.Now()
		last, ok := s.Count.allow(t.Owner, now)
		if !ok {
			continue
		}
		d, err := s.network(t, one, last)
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	if err := s.post("networks", drafts...); err != nil {
		return err
	}
	return s.Store.Notices().Sightings.Seen(list)
}

// network returns the notice of a use in a new network, and its event.
func (s *Notifier) network(t storage.Token, one record.Sighting, last bool) (d notices.Draft, err error) {
	u, err := s.Store.UserByID(t.Owner)
	if err != nil {
		return d, err
	}
	net := record.NetworkOf(one.Address)
	detail := net.String()
	if last {
		detail += "; further new networks of this user are not recorded today"
	}
	n, err := s.draft(wording.Event{
		Type: wording.TokenNetwork, Time: one.Time, UID: u.UID, Token: t.ID.String(), Name: t.Name,
		Network: net.String(), Address: one.Address.String(), Agent: one.Agent,
	}, t.Owner, t.ID.String(), net.String())
	return notices.Draft{
		Notice: n, Token: t.ID,
		Event: storage.Event{
			Action: storage.ActionTokenNetwork, UID: u.UID, Owner: t.Owner, Token: t.ID.String(),
			Address: one.Address.String(), Detail: detail,
		},
		Learn: func(k *record.Known) bool {
			if k.HasNetwork(net) {
				return false
			}
			for _, earlier := range one.Before {
				k.AddNetwork(earlier)
			}
			k.AddNetwork(net)
			return true
		},
	}, err
}

// allow counts a new network of a user. It reports whether it is recorded, and whether it
// is the last one of the day.
func (c *Count) allow(user storage.UserID, now time.Time) (last, ok bool) {
	const mostUsers = 100_000
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.networks[user]
	if today := record.DayOf(now.UnixMilli()); a.day != today {
		if len(c.networks) > mostUsers {
			clear(c.networks)
		}
		a = allowance{day: today}
	}
	a.n++
	c.networks[user] = a
	return a.n == mostADay, a.n <= mostADay
}

// Found returns the notice for the owner of a token that was found in a place, and that the
// caller is about to revoke in the change that stores the notice.
func (s *Notifier) Found(id storage.ID, place string) (n record.Notice, err error) {
	t, err := s.Store.Token(id)
	if err != nil {
		return n, err
	}
	u, err := s.Store.UserByID(t.Owner)
	if err != nil {
		return n, err
	}
	return s.draft(wording.Event{Type: wording.TokenFound, UID: u.UID, Token: id.String(), Name: t.Name, Where: place}, t.Owner, id.String())
}
