package order

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
	"gatehouse/storage/table"
)

// A stop leaves what is known in a file, and the next start loads it instead of reading the
// index:
//
//	head   1    what the file depends on, and how many of each there are
//	tokens 256  of each shard the tokens; and a 256th of the dead tokens, the texts and the limits
//	people 256  a 256th of the users: those who are not removed by name, then the others
//
// Numbers of users are in no part, because each start assigns them again.
var form = sealed.Form{Magic: "GATEHOUSE FACTS 1\n", Kind: 'F', Parts: 1 + 2*table.Shards}

const (
	firstTokens = 1
	firstPeople = firstTokens + table.Shards
)

var (
	errNotKnown = errors.New("not everything is known")
	errUnusable = errors.New("it is of another program or other keys, or the last stop was not clean")
)

// OpenFile opens a file that WriteFile wrote.
func OpenFile(name string, seals *keys.Seals) (*sealed.File, error) { return form.Open(name, seals) }

// Resume makes the views begin with a file of this moment. The caller must call it before
// anything changes, and keep the file open. It is not used if sure, which may wait, returns
// false. latest returns the latest time, in ms, that can be right.
func (v *Views) Resume(file *sealed.File, sure func() bool, latest func() int64) {
	v.tokens.resume(func(p *pass) (*facts, error) {
		if !sure() {
			return nil, errUnusable
		}
		return v.loadTokens(file, p, latest())
	})
	v.people.resume(func(p *pass) (*people, error) {
		if !sure() {
			return nil, errUnusable
		}
		return v.loadPeople(file, p)
	})
}

// Settle brings what is known up to date, as WriteFile requires, until stop is closed. It
// does so even if the store is closing, and loads a file that nobody has asked for.
func (v *Views) Settle(stop <-chan struct{}) error {
	if !v.people.isKnown() || !v.tokens.isKnown() {
		return errNotKnown
	}
	err := v.people.get(stop, true, v.readPeople)
	if err == nil {
		err = v.tokens.get(stop, true, v.readTokens)
	}
	if err == nil {
		v.followPeople()
		_, err = v.followTokens(v.table.Unsaved(nil), stop)
	}
	return err
}

// FileSize returns about how many bytes WriteFile writes.
func (v *Views) FileSize() (n uint64) {
	if f := v.tokens.there(); f != nil {
		v.tokens.RLock()
		defer v.tokens.RUnlock()
		n = uint64((len(f.texts.blocks)+1)*textBlock + 2*len(f.dead.rows)*rowSize)
	}
	return n + uint64(2*v.table.Len()*rowSize+v.table.Owners.Len()*128)
}

// WriteFile writes what is known. It returns an error if something has changed since Settle;
// if stop returns an error, it returns that. See also [sealed.Form.Write].
func (v *Views) WriteFile(name string, seals *keys.Seals, m sealed.Moment, stop func() error) error {
	v.tokens.following.Lock()
	defer v.tokens.following.Unlock()
	v.tokens.RLock()
	defer v.tokens.RUnlock()
	v.people.RLock()
	defer v.people.RUnlock()
	f, p := v.tokens.value, v.people.value
	if f == nil || p == nil || len(f.unread) > 0 || !v.people.notes.empty() {
		return errNotKnown
	}
	for _, s := range v.tokens.notes.take() {
		if !f.has(s) {
			return errNotKnown
		}
	}
	dead, users := f.dead.there(), p.all()
	n := counts{len(f.texts.blocks), f.first, len(f.limits.list), len(p.sorted), len(users)}
	return form.Write(name, seals, m, func(part int, b []byte) ([]byte, error) {
		if err := stop(); err != nil {
			return nil, err
		}
		switch {
		case part == 0:
			return v.appendHead(b, n), nil
		case part < firstPeople:
			return v.appendTokens(b, f, dead, byte(part-firstTokens))
		}
		from, to := share(len(users), part-firstPeople)
		return p.appendTo(b, users[from:to]), nil
	})
}

// share returns which of all elements belong to a 256th.
func share(all, n int) (from, to int) { return all * n / table.Shards, all * (n + 1) / table.Shards }

// depends is what must be the same when the file is loaded: how names are folded, and the
// keys of the tokens that may be live.
func (v *Views) depends() []byte {
	b := make([]byte, 256/8, 64)
	for key := range 256 {
		if v.live(byte(key)) {
			b[key/8] |= 1 << (key % 8)
		}
	}
	return append(b, record.Folding...)
}

// counts are how many there are of what is not divided by shard.
type counts struct{ blocks, first, limits, named, users int }

func (n *counts) all() []*int { return []*int{&n.blocks, &n.first, &n.limits, &n.named, &n.users} }

func (v *Views) appendHead(b []byte, n counts) []byte {
	b = appendText(b, string(v.depends()))
	for _, n := range n.all() {
		b = binary.AppendUvarint(b, uint64(*n))
	}
	return b
}

func (v *Views) loadHead(file *sealed.File) (n counts, err error) {
	b, err := file.Part(0, new([]byte))
	if err != nil {
		return n, err
	}
	c := record.Cutter{Rest: b}
	if cutText(&c, string(b)) != string(v.depends()) {
		return n, errUnusable
	}
	for _, n := range n.all() {
		*n = int(c.Number())
	}
	return n, cutAll(&c)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts[T any](b []byte, list []T, text func(T) string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, v := range list {
		b = appendText(b, text(v))
	}
	return b
}

func itself(s string) string { return s }

// cutText cuts off a text; all is the whole from which the cutter cuts, so that its texts
// share memory.
func cutText(c *record.Cutter, all string) string {
	n := len(c.Bytes(int(c.Number())))
	if c.Failed {
		return ""
	}
	end := len(all) - len(c.Rest)
	return all[end-n : end]
}

func cutTexts(c *record.Cutter, all string) (list []string) {
	for range c.Number() {
		list = append(list, cutText(c, all))
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

// appendTokens writes one of the parts with tokens. The tokens of the shard are in the order
// of the table's slots, so that each is found at once.
func (v *Views) appendTokens(b []byte, f *facts, dead []uint32, shard byte) ([]byte, error) {
	p, all := &f.parts[shard], table.Any()
	var numbers []uint32
	for _, e := range v.table.AppendIn(nil, shard, &all) {
		n, ok := p.find(e.Slot, e.ID)
		if !ok || !p.knows(n) {
			return nil, errNotKnown
		}
		numbers = append(numbers, n)
	}
	b = p.appendTo(b, numbers)
	from, to := share(len(dead), int(shard))
	b = f.dead.part.appendTo(b, dead[from:to])
	for _, n := range dead[from:to] {
		r, owner := f.dead.rows[n], record.UserID(0)
		if int64(r.owner) < int64(v.table.Owners.Len()) {
			owner = v.table.Owners.At(r.owner).ID
		}
		b = binary.BigEndian.AppendUint64(append(b, owner.Bytes()...), uint64(r.used))
		b = binary.BigEndian.AppendUint64(b, uint64(r.revoked))
	}
	from, to = share(len(f.texts.blocks), int(shard))
	for _, block := range f.texts.blocks[from:to] {
		b = appendText(b, string(block))
	}
	from, to = share(len(f.limits.list), int(shard))
	for _, l := range f.limits.list[from:to] {
		b = appendTexts(appendTexts(b, l.scopes, itself), l.addresses, netip.Prefix.String)
	}
	return b, nil
}

const rowSize = keys.IDSize + 8 + 8 + 3*4 + 4

// appendTo writes tokens: how many, each one's id, head, detail and place in addrs, and then
// addrs with what these refer to.
func (p *part) appendTo(b []byte, numbers []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(numbers)))
	addrs := []byte{0}
	for _, n := range numbers {
		h, d, at := p.heads[n], p.details[n], uint32(0)
		if seen := p.addrs[p.seen[n]:]; p.seen[n] != 0 {
			at, addrs = uint32(len(addrs)), append(addrs, seen[:seenLen(seen)]...)
		}
		b = append(b, p.ids[n][:]...)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(h.created)), uint64(h.expires))
		for _, v := range []uint32{d.name, d.by, d.limit, at} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	return appendText(b, string(addrs))
}

// load reads what appendTo wrote.
func (p *part) load(c *record.Cutter) {
	many := c.Number()
	p.reserve(int(many))
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	for range many {
		b := c.Bytes(rowSize)
		p.ids = append(p.ids, keys.ID(b))
		b = b[keys.IDSize:]
		p.heads = append(p.heads, head{int64(u64(b)), int64(u64(b[8:]))})
		p.details = append(p.details, detail{u32(b[16:]), u32(b[20:]), u32(b[24:])})
		p.seen = append(p.seen, u32(b[28:]))
	}
	p.addrs = slices.Clone(c.Bytes(int(c.Number())))
}

// loadTokens reads the facts. What the file says of dead tokens that were used after latest
// is not believed: the clock was ahead.
func (v *Views) loadTokens(file *sealed.File, p *pass, latest int64) (*facts, error) {
	n, err := v.loadHead(file)
	if err != nil {
		return nil, err
	}
	f := &facts{unread: map[keys.ID]struct{}{}, first: n.first}
	f.dead.reserve(0)
	f.texts.blocks, f.limits.list = make([][]byte, n.blocks), make([]limit, n.limits)
	var mu sync.Mutex // guards the dead
	err = p.parts(func(b byte, w *worker) error {
		w.pause()
		content, err := file.Part(firstTokens+int(b), &w.buf)
		if err != nil {
			return err
		}
		c := record.Cutter{Rest: content}
		f.parts[b].load(&c)
		f.parts[b].index()
		mu.Lock()
		v.loadDead(f, &c, latest)
		mu.Unlock()
		from, to := share(n.blocks, int(b))
		for i := from; i < to; i++ {
			f.texts.blocks[i] = append(make([]byte, 0, textBlock), c.Bytes(int(c.Number()))...)
		}
		if from, to = share(n.limits, int(b)); from < to {
			err = cutLimits(&c, string(content), f.limits.list[from:to])
		}
		return errors.Join(err, cutAll(&c))
	})
	if err == nil {
		f.texts.remember()
		f.limits.remember()
	}
	return f, err
}

func (v *Views) loadDead(f *facts, c *record.Cutter, latest int64) {
	var from part
	from.load(c)
	for n, id := range from.ids {
		r := deadRow{owner: v.number(record.DecodeUserID(c.Bytes(8))), used: record.LastUse(binary.BigEndian.Uint64(c.Bytes(8)))}
		r.revoked = int64(binary.BigEndian.Uint64(c.Bytes(8)))
		d, to := &f.dead, f.dead.add(id)
		d.rows, d.heads[to], d.details[to] = append(d.rows, r), from.heads[n], from.details[n]
		if seen := from.addrs[from.seen[n]:]; from.seen[n] != 0 {
			d.seen[to], d.addrs = uint32(len(d.addrs)), append(d.addrs, seen[:seenLen(seen)]...)
		}
		if r.used.Ms() > latest {
			f.unread[id] = struct{}{}
		}
	}
}

func cutLimits(c *record.Cutter, all string, list []limit) error {
	for i := range list {
		list[i].scopes = cutTexts(c, all)
		for _, text := range cutTexts(c, all) {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return err
			}
			list[i].addresses = append(list[i].addresses, p)
		}
	}
	return nil
}

// there returns the numbers of the tokens that are not gone.
func (d *dead) there() (list []uint32) {
	for n := range d.rows {
		if !d.rows[n].gone {
			list = append(list, uint32(n))
		}
	}
	return list
}

// remember finds the texts again that are shared.
func (l *texts) remember() {
	l.same = make(map[string]uint32)
	for n, block := range l.blocks {
		for at := 0; at < len(block) && len(l.same) < mostSame; {
			s := l.at(uint32(n*textBlock + at))
			l.same[s] = uint32(n*textBlock + at)
			at += 2 + len(s)
		}
	}
}

func (l *limits) remember() {
	l.same = make(map[string]uint32)
	for n, t := range l.list {
		if n > 0 && len(l.same) < mostSame {
			l.same[t.key()] = uint32(n)
		}
	}
}

// all returns the people who are known: those who are not removed by name, then the others.
func (p *people) all() (list []person) {
	for _, n := range p.sorted {
		list = append(list, p.who[n])
	}
	for _, v := range p.who {
		if v.about != nil && v.folded == "" {
			list = append(list, v)
		}
	}
	return list
}

// appendTo writes people: id 8 | created 8 | state 1 | the texts, each after its length.
func (p *people) appendTo(b []byte, list []person) []byte {
	for _, v := range list {
		b = binary.BigEndian.AppendUint64(append(b, v.about.ID.Bytes()...), uint64(v.created))
		b = append(b, byte(v.state))
		for _, s := range []string{v.about.UID, v.about.Name, v.about.Source} {
			b = appendText(b, s)
		}
		b = appendTexts(b, v.about.Subjects, itself)
	}
	return b
}

// loadPeople reads the people.
func (v *Views) loadPeople(file *sealed.File, p *pass) (*people, error) {
	n, err := v.loadHead(file)
	if err != nil {
		return nil, err
	}
	to := &people{who: make([]person, v.table.Owners.Len()), sorted: make([]uint32, n.named)}
	err = p.parts(func(b byte, w *worker) error {
		w.pause()
		content, err := file.Part(firstPeople+int(b), &w.buf)
		if err != nil {
			return err
		}
		c, all := record.Cutter{Rest: content}, string(content)
		from, end := share(n.users, int(b))
		for i := from; i < end; i++ {
			one := cutPerson(&c, all)
			_, number, ok := v.table.Owners.Find(one.about.ID)
			if !ok || int(number) >= len(to.who) || (one.folded != "") != (i < n.named) {
				return fmt.Errorf("%w: user %016x", disk.ErrDamaged, one.about.ID)
			}
			if to.who[number] = one; i < n.named {
				to.sorted[i] = number
			}
		}
		return cutAll(&c)
	})
	return to, err
}

// cutPerson cuts off a person that appendTo wrote.
func cutPerson(c *record.Cutter, all string) person {
	about := &Person{ID: record.DecodeUserID(c.Bytes(8))}
	v := person{created: int64(binary.BigEndian.Uint64(c.Bytes(8))), about: about, state: record.UserState(c.Bytes(1)[0])}
	about.State, about.UID, about.Name, about.Source = v.state, cutText(c, all), cutText(c, all), cutText(c, all)
	about.Subjects = cutTexts(c, all)
	if v.state != record.UserRemoved {
		v.folded = about.UID
	}
	return v
}
