package order

import (
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// dead has the tokens that have a record but are not in the table: the revoked ones, and
// those of removed users. All columns are read.
type dead struct {
	part
	rows   []deadRow            // by number
	unread map[keys.ID]struct{} // died or changed since; to be read by the next query
}

type deadRow struct {
	used    record.LastUse
	owner   uint32
	revoked int64 // 0: only its owner was removed
	gone    bool  // it no longer has a record
}

func newDead() *dead {
	d := &dead{unread: map[keys.ID]struct{}{}}
	d.begin(heads | details | seen)
	return d
}

// add adds a token, or replaces it.
func (d *dead) add(v *Views, f *facts, t *record.Token) {
	n, known := d.find(unknown, t.ID)
	if !known {
		n = d.part.add(t.ID)
		d.rows = append(d.rows, deadRow{})
	}
	d.rows[n] = deadRow{used: usedAt(t), owner: v.number(t.Owner), revoked: t.Revoked}
	f.set(&d.part, n, t, heads|details|seen)
}

// bury reads the tokens that have died or changed.
func (v *Views) bury(f *facts) error {
	d := f.dead
	for id := range d.unread {
		delete(d.unread, id)
		if _, live, _ := v.table.Get(id); live {
			continue
		}
		t, ok, err := v.index.Token(id)
		if err != nil {
			d.unread[id] = struct{}{}
			return err
		}
		if n, known := d.find(unknown, id); ok {
			d.add(v, f, &t)
		} else if known {
			d.rows[n].gone = true
		}
	}
	return nil
}
