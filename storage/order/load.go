package order

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
)

var errUnusable = errors.New("it is of another program or other keys, or the last stop was not clean")

// OpenFile opens a file that WriteFile wrote.
func OpenFile(name string, seals *keys.Seals) (*sealed.File, error) { return form.Open(name, seals) }

// Resume makes the views begin with a file of this moment. Call it before anything changes,
// and keep the file open. It is not used if sure, which may wait, returns false. latest
// returns the latest time, in ms, that can be right.
func (v *Views) Resume(file *sealed.File, sure func() bool, latest func() int64) {
	v.tokens.resume(func(p *reading) (*facts, error) {
		n, err := v.loadHead(file, sure)
		if err != nil {
			return nil, err
		}
		return v.loadTokens(file, n, p, latest())
	})
	v.people.resume(func(p *reading) (*people, error) {
		n, err := v.loadHead(file, sure)
		if err != nil {
			return nil, err
		}
		return v.loadPeople(file, n, p)
	})
}

func (v *Views) loadHead(file *sealed.File, sure func() bool) (n counts, err error) {
	if !sure() {
		return n, errUnusable
	}
	b, err := file.Part(0, new([]byte))
	if err != nil {
		return n, err
	}
	c := record.Cutter{Rest: b}
	if cutText(&c) != v.depends() {
		return n, errUnusable
	}
	for _, n := range n.all() {
		*n = int(c.Number())
	}
	return n, cutAll(&c)
}

// loadParts calls load with the content of each of the 256 parts that begin with one.
func loadParts(file *sealed.File, first int, p *reading, load func(n int, c *record.Cutter) error) error {
	return p.parts(func(b byte, w *worker) error {
		w.pauseAfter(time.Millisecond)
		content, err := file.Part(first+int(b), &w.buf)
		if err != nil {
			return err
		}
		c := record.Cutter{Rest: content}
		return errors.Join(load(int(b), &c), cutAll(&c))
	})
}

// loadTokens reads the facts. What the file says of dead tokens that were used after latest
// is not believed: the clock was ahead.
func (v *Views) loadTokens(file *sealed.File, n counts, p *reading, latest int64) (*facts, error) {
	f := &facts{unread: map[keys.ID]struct{}{}, first: n.first}
	f.dead.reserve(0)
	f.texts = texts{blocks: make([][]byte, n.blocks), starts: make([]uint32, 0, n.texts)}
	limits := make([]limit, n.limits)
	var mu sync.Mutex // guards the dead
	err := loadParts(file, firstTokens, p, func(part int, c *record.Cutter) (err error) {
		f.parts[part].load(c)
		f.parts[part].index()
		mu.Lock()
		v.loadDead(f, c, latest)
		mu.Unlock()
		from, to := share(n.blocks, part)
		for i := from; i < to; i++ {
			f.texts.blocks[i] = append(make([]byte, 0, textBlock), c.Bytes(int(c.Number()))...)
		}
		from, to = share(n.limits, part)
		for i := from; i < to && err == nil; i++ {
			limits[i], err = cutLimit(c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.texts.remember()
	for _, l := range limits {
		f.limits.add(l)
	}
	return f, nil
}

// load reads what appendTo wrote.
func (p *part) load(c *record.Cutter) {
	many := int(c.Number())
	p.reserve(many)
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	for range many {
		b := c.Bytes(rowSize)
		p.ids = append(p.ids, keys.ID(b))
		b = b[keys.IDSize:]
		p.created, p.expires = append(p.created, int64(u64(b))), append(p.expires, int64(u64(b[8:])))
		p.details = append(p.details, detail{u32(b[16:]), u32(b[20:]), u32(b[24:])})
		p.seen = append(p.seen, u32(b[28:]))
	}
	p.addrs = slices.Clone(c.Bytes(int(c.Number())))
}

func (v *Views) loadDead(f *facts, c *record.Cutter, latest int64) {
	var from part
	from.load(c)
	d := &f.dead
	for n, id := range from.ids {
		r := deadRow{owner: v.number(record.DecodeUserID(c.Bytes(8))), used: record.LastUse(binary.BigEndian.Uint64(c.Bytes(8)))}
		r.revoked = int64(binary.BigEndian.Uint64(c.Bytes(8)))
		to := d.add(id)
		d.rows, d.details[to] = append(d.rows, r), from.details[n]
		d.created[to], d.expires[to] = from.created[n], from.expires[n]
		if from.seen[n] != 0 {
			seen := from.addrs[from.seen[n]:]
			d.seen[to], d.addrs = uint32(len(d.addrs)), append(d.addrs, seen[:seenLen(seen)]...)
		}
		if r.used.Ms() > latest {
			f.unread[id] = struct{}{}
		}
	}
}

// remember numbers the texts in the blocks again, and finds those that are shared.
func (l *texts) remember() {
	l.same = make(map[string]uint32)
	for b, block := range l.blocks {
		for at := 0; at < len(block); {
			n := uint32(len(l.starts))
			l.starts = append(l.starts, uint32(b*textBlock+at))
			s := l.at(n)
			if at += 2 + len(s); len(l.same) < mostSame {
				l.same[s] = n
			}
		}
	}
}

func cutLimit(c *record.Cutter) (l limit, err error) {
	l.scopes = cutTexts(c)
	for _, text := range cutTexts(c) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return l, err
		}
		l.addresses = append(l.addresses, p)
	}
	return l, nil
}

func (v *Views) loadPeople(file *sealed.File, n counts, p *reading) (*people, error) {
	to := &people{who: make([]person, v.table.Owners.Len()), sorted: make([]uint32, n.named)}
	err := loadParts(file, firstPeople, p, func(part int, c *record.Cutter) error {
		from, end := share(n.users, part)
		for i := from; i < end; i++ {
			number, one := cutPerson(c)
			if int(number) >= len(to.who) || v.table.Owners.ID(number) != one.about.ID {
				number = v.number(one.about.ID)
			}
			if int(number) >= len(to.who) || (one.folded != "") != (i < n.named) {
				return fmt.Errorf("%w: user %016x", disk.ErrDamaged, one.about.ID)
			}
			if to.who[number] = one; i < n.named {
				to.sorted[i] = number
			}
		}
		return nil
	})
	return to, err
}

// cutPerson cuts off a person, and the number at the stop.
func cutPerson(c *record.Cutter) (number uint32, v person) {
	number = binary.BigEndian.Uint32(c.Bytes(4))
	v.about = &Person{ID: record.DecodeUserID(c.Bytes(8))}
	v.created, v.state = int64(binary.BigEndian.Uint64(c.Bytes(8))), record.UserState(c.Bytes(1)[0])
	v.about.UID, v.about.Name, v.about.Source = cutText(c), cutText(c), cutText(c)
	v.about.Subjects, v.about.State = cutTexts(c), v.state
	if v.state != record.UserRemoved {
		v.folded = v.about.UID
	}
	return number, v
}

func cutText(c *record.Cutter) string { return string(c.Bytes(int(c.Number()))) }

func cutTexts(c *record.Cutter) (list []string) {
	for range c.Number() {
		list = append(list, cutText(c))
	}
	return list
}

// cutAll returns an error if something failed, or is left.
func cutAll(c *record.Cutter) error {
	if c.Failed || len(c.Rest) > 0 {
		return fmt.Errorf("%w: it has an unknown form", disk.ErrDamaged)
	}
	return nil
}
