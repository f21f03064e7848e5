package order

import (
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// dead has the tokens that have a record but are not in the table: the revoked ones, those of
// removed users, and those of keys that the keyring does not have.
type dead struct {
	part
	rows []deadRow // by number
	gone int       // so many of them are gone
}

type deadRow struct {
	used    record.LastUse
	owner   uint32
	revoked int64 // ms; 0: it is not revoked
	gone    bool  // it no longer has a record
}

// put adds a token, or replaces it, or notes that it no longer has a record. It forgets where
// the token was seen when it was live: if it is used once more, its record must be read again,
// because the table does not have its last use.
func (d *dead) put(v *Views, f *facts, id keys.ID, t *record.Token, there bool) {
	p := &f.parts[id[1]]
	if n, ok := p.find(beyond, id); ok {
		p.unlink(n)
	}
	n, known := d.find(beyond, id)
	switch {
	case !there && !known:
		return
	case !there:
		if !d.rows[n].gone {
			d.rows[n].gone = true
			d.gone++
		}
		return
	case !known:
		n = d.add(id)
		d.rows = append(d.rows, deadRow{})
	case d.rows[n].gone:
		d.gone--
	}
	d.rows[n] = deadRow{used: usedAt(t), owner: v.number(t.Owner), revoked: t.Revoked}
	f.set(&d.part, n, t)
}
