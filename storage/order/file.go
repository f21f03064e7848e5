package order

import (
	"encoding/binary"
	"errors"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/sealed"
	"gatehouse/storage/table"
)

// A stop leaves what is known in a file, and the next start loads it (load.go) instead of
// reading the index. Its parts:
//
//	head          what the file depends on, and how many of each there are
//	tokens * 256  the tokens of a shard; a 256th of the dead ones, the texts and the limits
//	people * 256  a 256th of the users: those who are not removed by name, then the others
//
// Each start assigns the numbers of users again. If the table comes from its file, they are
// the same as before, so that a user's number is found at once.
var form = sealed.Form{Magic: "GATEHOUSE FACTS 1\n", Kind: 'F', Parts: firstPeople + table.Shards}

const (
	firstTokens = 1
	firstPeople = firstTokens + table.Shards
	// rowSize is how many bytes a token takes, without its addresses.
	rowSize = keys.IDSize + 8 + 8 + 4*4
)

var errNotKnown = errors.New("not everything is known")

// share returns which of all elements belong to a 256th.
func share(all, n int) (from, to int) { return all * n / table.Shards, all * (n + 1) / table.Shards }

// counts are how many there are of what has no shard; first is that of facts.
type counts struct{ blocks, texts, first, limits, named, users int }

func (n *counts) all() []*int {
	return []*int{&n.blocks, &n.texts, &n.first, &n.limits, &n.named, &n.users}
}

// depends is what must be the same when the file is loaded: which tokens the table can have,
// and how names are folded.
func (v *Views) depends() string {
	b := make([]byte, 256/8)
	for key := range 256 {
		if v.live(byte(key)) {
			b[key/8] |= 1 << (key % 8)
		}
	}
	return string(b) + record.Folding
}

// FileSize returns about how many bytes WriteFile writes.
func (v *Views) FileSize() uint64 {
	n := v.table.Len()*2*rowSize + v.table.Owners.Len()*128
	v.tokens.RLock()
	defer v.tokens.RUnlock()
	if f := v.tokens.value; f != nil {
		n += (len(f.texts.blocks)+1)*textBlock + len(f.dead.rows)*2*rowSize
	}
	return uint64(n)
}

// Settle brings what is known up to date, as WriteFile requires, until stop is closed. It
// does so even if the store is closing, and loads a file that nobody has asked for. If only
// the facts are known, it reads the people too: that takes little time beside the facts.
func (v *Views) Settle(stop <-chan struct{}) error {
	if !v.tokens.isKnown() {
		return errNotKnown
	}
	err := v.people.get(stop, hurried, v.readPeople)
	if err == nil {
		err = v.tokens.get(stop, hurried, v.readTokens)
	}
	if err == nil {
		v.followPeople()
		_, err = v.followTokens(v.table.Unsaved(nil), true, stop)
	}
	return err
}

// WriteFile writes what is known as of a moment. It returns an error if something has
// changed since Settle. If stop returns an error, it returns that. See also
// [sealed.Form.Write].
func (v *Views) WriteFile(name string, seals *keys.Seals, m sealed.Moment, stop func() error) error {
	v.tokens.following.Lock()
	defer v.tokens.following.Unlock()
	v.tokens.RLock()
	defer v.tokens.RUnlock()
	v.people.RLock()
	defer v.people.RUnlock()
	f, p := v.tokens.value, v.people.value
	if f == nil || p == nil || v.people.notes.len() > 0 {
		return errNotKnown
	}
	for _, s := range f.news(v.tokens.notes.take()) {
		f.unread[s.ID] = struct{}{}
	}
	if len(f.unread) > 0 {
		return errNotKnown
	}
	dead, users := f.dead.there(), p.all()
	n := counts{len(f.texts.blocks), len(f.texts.starts), f.first, len(f.limits.list), len(p.sorted), len(users)}
	return form.Write(name, seals, m, func(part int, b []byte) ([]byte, error) {
		if err := stop(); err != nil {
			return nil, err
		}
		switch {
		case part < firstTokens:
			return v.appendHead(b, n), nil
		case part < firstPeople:
			return v.appendTokens(b, f, dead, part-firstTokens)
		}
		from, to := share(len(users), part-firstPeople)
		return p.appendTo(b, users[from:to]), nil
	})
}

func (v *Views) appendHead(b []byte, n counts) []byte {
	b = appendText(b, v.depends())
	for _, n := range n.all() {
		b = binary.AppendUvarint(b, uint64(*n))
	}
	return b
}

// appendTokens writes a part. The tokens of the shard are in the order of the table's slots,
// so that each is found at once.
func (v *Views) appendTokens(b []byte, f *facts, dead []uint32, shard int) ([]byte, error) {
	p, all := &f.parts[shard], table.Any()
	var numbers []uint32
	for _, e := range v.table.AppendIn(nil, byte(shard), &all) {
		n, ok := p.find(e.Slot, e.ID)
		if !ok || !p.knows(n) {
			return nil, errNotKnown
		}
		numbers = append(numbers, n)
	}
	b = p.appendTo(b, numbers)
	from, to := share(len(dead), shard)
	b = f.dead.appendTo(b, dead[from:to])
	for _, n := range dead[from:to] {
		r, owner := f.dead.rows[n], record.UserID(0)
		if r.owner != NoNumber {
			owner = v.table.Owners.ID(r.owner)
		}
		b = binary.BigEndian.AppendUint64(append(b, owner.Bytes()...), uint64(r.used))
		b = binary.BigEndian.AppendUint64(b, uint64(r.revoked))
	}
	from, to = share(len(f.texts.blocks), shard)
	for _, block := range f.texts.blocks[from:to] {
		b = appendText(b, string(block))
	}
	from, to = share(len(f.limits.list), shard)
	for _, l := range f.limits.list[from:to] {
		b = appendTexts(b, l.scopes)
		var addresses []string
		for _, p := range l.addresses {
			addresses = append(addresses, p.String())
		}
		b = appendTexts(b, addresses)
	}
	return b, nil
}

// appendTo writes how many tokens, each one's id, times, detail and position in addrs, and then
// addrs with what these tokens need of it.
func (p *part) appendTo(b []byte, numbers []uint32) []byte {
	b = binary.AppendUvarint(b, uint64(len(numbers)))
	addrs := []byte{0}
	for _, n := range numbers {
		d, at := p.details[n], uint32(0)
		if p.seen[n] != 0 {
			seen := p.addrs[p.seen[n]:]
			at, addrs = uint32(len(addrs)), append(addrs, seen[:seenLen(seen)]...)
		}
		b = append(b, p.ids[n][:]...)
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(p.created[n])), uint64(p.expires[n]))
		for _, v := range []uint32{d.name, d.by, d.limit, at} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
	}
	return appendText(b, string(addrs))
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

// all returns the numbers of the people who are known: of those who are not removed, by name,
// then of the others.
func (p *people) all() []uint32 {
	list := slices.Clone(p.sorted)
	for n, v := range p.who {
		if v.about != nil && v.folded == "" {
			list = append(list, uint32(n))
		}
	}
	return list
}

// appendTo writes of each its number 4 | id 8 | created 8 | state 1 | texts.
func (p *people) appendTo(b []byte, numbers []uint32) []byte {
	for _, n := range numbers {
		v := &p.who[n]
		b = append(binary.BigEndian.AppendUint32(b, n), v.about.ID.Bytes()...)
		b = append(binary.BigEndian.AppendUint64(b, uint64(v.created)), byte(v.state))
		b = appendTexts(appendText(appendText(appendText(b, v.about.UID), v.about.Name), v.about.Source), v.about.Subjects)
	}
	return b
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendText(b, s)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
