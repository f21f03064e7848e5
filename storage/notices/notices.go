// Package notices stores the notices: which there are, which targets still lack them, and
// what was noticed about tokens before.
//
//	something happens     Post     the notice, what is now known of the token, and the event in the
//	                               audit log are one change: all of it is in the journal, or none
//	a target has got it   Settle   one target less; with the last one the notice is done
//	a week later          Prune    it is forgotten
//
// The id of a notice is derived from what it says, so nothing is posted twice. The records
// are in the journal and in backups. A restore adds what the replaced store knew
// ([record.Notice.With], [record.Known.With]), so it neither repeats a notice nor loses one.
//
// [Deadlines] finds the tokens that end soon, and [Sightings] the uses in new networks. The
// server looks for them every second. So a look must cost nothing while nothing is new: Badger
// keeps deleted records for a long time, and a walk of the index passes all of them.
//
// The package never sends anything, and does not know what a notice says.
package notices

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// kept is how long a notice is kept once it is done. After that, a restore of an older backup
// may bring it back as one that waits, but then it is too old to be sent.
const kept = 7 * 24 * time.Hour

// Change is a change of the store.
type Change interface {
	Now() int64 // ms
	Get(key []byte) (value []byte, ok bool, err error)
	Known(keys.ID) (record.Known, error) // what was noticed about a token
	Put(key, value []byte)
	Delete(key []byte)
	Event(record.Event)
}

// Index is access to the index.
type Index interface {
	View(fn func(*index.View) error) error
	Update(fn func(*index.Update) error) error
}

// Notices are the notices of a store. All fields are required.
type Notices struct {
	Index  Index
	Key    [32]byte                                        // of ids: two installations have different ones
	Change func(actor string, fn func(Change) error) error // fn may run twice
	*Deadlines
	Sightings *Sightings
}

// ID returns the id of the notice that says this.
func (s *Notices) ID(says ...string) (id record.NoticeID) {
	h := hmac.New(sha256.New, s.Key[:])
	for _, part := range says {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	copy(id[:], h.Sum(nil))
	return id
}

// Draft is a notice with what belongs to it.
type Draft struct {
	Notice record.Notice // the zero id: there is nobody to tell
	Event  record.Event  // for the audit log; no action: there is none

	// Learn, unless it is nil, changes what is known of the token. If it returns false,
	// the notice is no news, and nothing is done.
	Token keys.ID
	Learn func(*record.Known) bool

	// State is the state that begins. If it lasts already, nothing is done.
	State record.NoticeID
}

// Post posts notices, each unless it is known already. It returns those that are new; they
// are durable then.
func (s *Notices) Post(actor string, drafts ...Draft) (posted []record.Notice, err error) {
	err = s.Change(actor, func(c Change) error {
		posted = nil
		p := poster{c, map[record.NoticeID]bool{}, map[keys.ID]record.Known{}}
		for _, d := range drafts {
			news, err := p.post(&d)
			if err != nil {
				return err
			}
			if news && d.Notice.ID != none {
				posted = append(posted, d.Notice)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return posted, nil
}

var none record.NoticeID

// poster posts drafts in one change, which does not see what it has put itself.
type poster struct {
	Change
	made  map[record.NoticeID]bool
	known map[keys.ID]record.Known
}

// post posts one draft, and reports whether it is news.
func (p *poster) post(d *Draft) (news bool, err error) {
	for _, id := range []record.NoticeID{d.Notice.ID, d.State} {
		if id == none {
			continue
		}
		if _, ok, err := p.Get(record.NoticeKey(id)); err != nil || ok || p.made[id] {
			return false, err
		}
	}
	if d.Learn != nil {
		k, ok := p.known[d.Token]
		if !ok {
			if k, err = p.Known(d.Token); err != nil {
				return false, err
			}
		}
		if !d.Learn(&k) {
			return false, nil
		}
		p.known[d.Token] = k
	}
	if d.Event.Action != "" {
		p.Event(d.Event)
	}
	if d.Learn != nil {
		b, err := p.known[d.Token].Value()
		if err != nil {
			return false, err
		}
		p.Put(record.KnownKey(d.Token), b)
	}
	if d.State != none {
		if err := p.put(record.Notice{ID: d.State, State: true}); err != nil {
			return false, err
		}
	}
	if d.Notice.ID != none {
		d.Notice.Made = p.Now()
		return true, p.put(d.Notice)
	}
	return true, nil
}

func (p *poster) put(n record.Notice) error {
	p.made[n.ID] = true
	n.Made = p.Now()
	return put(p, n)
}

func put(c Change, n record.Notice) error {
	b, err := n.Value()
	if err == nil {
		c.Put(record.NoticeKey(n.ID), b)
	}
	return err
}

func readNotice(c Change, id record.NoticeID) (n record.Notice, ok bool, err error) {
	key := record.NoticeKey(id)
	b, ok, err := c.Get(key)
	if err == nil && ok {
		n, err = record.ParseNotice(key, b)
	}
	return n, ok, err
}

// Settle notes that a target has got a notice, or never will.
func (s *Notices) Settle(id record.NoticeID, target string) error {
	return s.Change("notices", func(c Change) error {
		n, ok, err := readNotice(c, id)
		if err != nil || !ok || !slices.Contains(n.Left, target) {
			return err
		}
		n.Left = slices.DeleteFunc(n.Left, func(t string) bool { return t == target })
		if !n.Pending() {
			n.Done, n.Body = c.Now(), nil
		}
		return put(c, n)
	})
}

// EndState notes that a state has ended: when it begins again, that is news.
func (s *Notices) EndState(id record.NoticeID) error {
	return s.Change("notices", func(c Change) error {
		if _, ok, err := c.Get(record.NoticeKey(id)); err != nil || !ok {
			return err
		}
		c.Delete(record.NoticeKey(id))
		return nil
	})
}

// Lasts reports whether a state has begun and not ended.
func (s *Notices) Lasts(id record.NoticeID) (ok bool, err error) {
	err = s.Index.View(func(v *index.View) error {
		_, ok, err = v.Get(record.NoticeKey(id))
		return err
	})
	return ok, err
}

// Pending returns up to most undelivered notices that the walk comes to next, the oldest
// first.
func (s *Notices) Pending(w *Walk, most int) (list []record.Notice, err error) {
	err = w.on(s.Index, 'x', func(key, b []byte) (enough bool, err error) {
		n, err := record.ParseNotice(key, b)
		if err == nil && n.Pending() {
			list = append(list, n)
		}
		return len(list) == most, err
	})
	slices.SortStableFunc(list, func(a, b record.Notice) int { return cmp.Compare(a.Made, b.Made) })
	return list, err
}

// mostInChange is how many records one change deletes.
const mostInChange = 64

// Prune forgets the notices that were done a week before now, in ms.
func (s *Notices) Prune(now int64) error {
	var old []record.NoticeID
	var err error
	for w := NewWalk(); err == nil && w.Due(); {
		err = w.on(s.Index, 'x', func(key, b []byte) (bool, error) {
			n, err := record.ParseNotice(key, b)
			if err == nil && !n.Pending() && !n.State && now-n.Done >= kept.Milliseconds() {
				old = append(old, n.ID)
			}
			return false, err
		})
	}
	for part := range slices.Chunk(old, mostInChange) {
		if err != nil {
			break
		}
		err = s.Change("notices", func(c Change) error {
			for _, id := range part {
				c.Delete(record.NoticeKey(id))
			}
			return nil
		})
	}
	return err
}

// MergeNotice adds what a store that was replaced knew of a notice.
func MergeNotice(c Change, n record.Notice) error {
	has, ok, err := readNotice(c, n.ID)
	if err != nil {
		return err
	}
	if ok {
		n = has.With(n)
	}
	return put(c, n)
}

// MergeKnown adds what a store that was replaced knew of a token.
func MergeKnown(c Change, id keys.ID, k record.Known) error {
	has, err := c.Known(id)
	if err != nil {
		return err
	}
	b, err := has.With(k).Value()
	if err == nil {
		c.Put(record.KnownKey(id), b)
	}
	return err
}
