package order

import (
	"bytes"
	"slices"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// dead has the tokens that have a record but are not in the table: the revoked ones, and
// those of removed users. It is read at the first query that asks for them.
type dead struct {
	list    []row  // by id
	dropped bitmap // those in list that no longer have a record
	more    map[keys.ID]row
	facts   *facts
	unread  map[keys.ID]struct{} // died or changed since; to be read by the next query
}

func newDead() *dead {
	return &dead{facts: newFacts(0), more: map[keys.ID]row{}, unread: map[keys.ID]struct{}{}}
}

// mostMore is how many tokens may have died before they are sorted into the list.
const mostMore = 32 << 10

func compareIDs(a, b row) int { return bytes.Compare(a.id[:], b.id[:]) }

// each calls fn with every dead token.
func (d *dead) each(fn func(row)) {
	for n := range d.list {
		if !d.dropped.has(uint32(n)) {
			fn(d.list[n])
		}
	}
	for _, r := range d.more {
		fn(r)
	}
}

// set sets a token, or drops it if its record is gone.
func (d *dead) set(r row, ok bool) {
	n, listed := slices.BinarySearchFunc(d.list, r, compareIDs)
	switch {
	case listed && ok:
		d.list[n] = r
	case listed:
		d.dropped.add(uint32(n))
	case ok:
		d.more[r.id] = r
	default:
		delete(d.more, r.id)
	}
	if len(d.more) <= mostMore {
		return
	}
	list := make([]row, 0, len(d.list)+len(d.more))
	d.each(func(r row) { list = append(list, r) })
	slices.SortFunc(list, compareIDs)
	d.list, d.dropped = list, nil
	clear(d.more)
}

// add adds a token while all are read.
func (d *dead) add(v *Views, t *record.Token) { d.list = append(d.list, d.row(v, t)) }

// row is a dead token in the form of a row.
func (d *dead) row(v *Views, t *record.Token) row {
	r := row{id: t.ID, used: record.CreatedAt(t.LastUsed), owner: NoNumber, created: t.Created, fact: d.facts.new(), dead: true, revoked: t.Revoked != 0}
	if t.LastUsed != t.Created {
		r.used = record.UsedAt(t.LastUsed)
	}
	if _, n, ok := v.table.Owners.Find(t.Owner); ok {
		r.owner = n
	}
	d.facts.set(r.fact, t)
	return r
}

// bury reads the tokens that have died or changed.
func (d *dead) bury(v *Views) error {
	for id := range d.unread {
		t, ok, err := v.index.Token(id)
		if err != nil {
			return err
		}
		r := row{id: id}
		if ok {
			r = d.row(v, &t)
		}
		d.set(r, ok)
		delete(d.unread, id)
	}
	return nil
}
