package order

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// harvest is what the index has for one part. It is gathered without the lock that queries
// take. Its memory is used for one part after the other.
type harvest struct {
	entries []table.Entry // of the table, before the index was read
	heads   []headOf
	details []detailOf
	seen    []seenOf
	addrs   []byte         // as in a part
	buried  []record.Token // the dead tokens
	ids     []keys.ID      // theirs
	read    int            // so many records of the part
}

// rest leaves the processor idle for a moment, after some records. As long as every
// processor has work, even work that yields, Go looks only every 10 ms for requests that
// have come in: beside a cold search they took three times as long.
func (h *harvest) rest() {
	if h.read++; h.read%512 == 0 {
		time.Sleep(20 * time.Microsecond)
	}
}

type headOf struct {
	id keys.ID
	head
}

type detailOf struct {
	id       keys.ID
	name, by string
	limit
}

type seenOf struct {
	id       keys.ID
	from, to int // in addrs
}

// gather reads columns, and the dead tokens, of one part.
func (v *Views) gather(h *harvest, b byte, which column, withDead bool) error {
	clear(h.details) // let go of the texts
	clear(h.buried)
	*h = harvest{h.entries[:0], h.heads[:0], h.details[:0], h.seen[:0], h.addrs[:0], h.buried[:0], h.ids[:0], 0}
	if which != 0 {
		any := table.Any()
		h.entries = v.table.AppendIn(h.entries, b, &any)
	}
	if which&(heads|details) != 0 {
		err := v.index.TokensIn(b, which&details != 0, func(t *record.Token) {
			h.rest()
			if which&heads != 0 {
				h.heads = append(h.heads, headOf{t.ID, head{t.Created, t.Expires}})
			}
			if which&details != 0 {
				h.details = append(h.details, detailOf{t.ID, t.Name, t.By, limit{t.Scopes, t.Addresses}})
			}
			if withDead {
				v.unlessLive(h, t.ID)
			}
		})
		if err != nil {
			return err
		}
	}
	if which&seen != 0 {
		err := v.index.SeenIn(b, func(id keys.ID, list []record.Seen) {
			h.rest()
			from := len(h.addrs)
			h.addrs = appendSeen(h.addrs, list)
			h.seen = append(h.seen, seenOf{id, from, len(h.addrs)})
		})
		if err != nil {
			return err
		}
	}
	if !withDead {
		return nil
	}
	return v.gatherDead(h, b, which&(heads|details) != 0)
}

// gatherDead reads the dead tokens of one part. Their ids are known if the records of all
// tokens were read.
func (v *Views) gatherDead(h *harvest, b byte, known bool) error {
	if !known {
		err := v.index.KeysIn(b, func(id keys.ID) {
			h.rest()
			v.unlessLive(h, id)
		})
		if err != nil {
			return err
		}
	}
	for _, id := range h.ids {
		t, ok, err := v.index.Token(id)
		if err != nil {
			return err
		}
		if ok {
			h.buried = append(h.buried, t)
		}
	}
	return nil
}

func (v *Views) unlessLive(h *harvest, id keys.ID) {
	if _, live, _ := v.table.Get(id); !live {
		h.ids = append(h.ids, id)
	}
}

// store fills columns of a part with what was read.
func (f *facts) store(p *part, h *harvest, which column) {
	for slot := range h.entries {
		id := h.entries[slot].ID
		if _, ok := p.find(uint32(slot), id); !ok {
			p.add(id)
		}
	}
	p.begin(which)
	for i := range h.heads {
		if n, ok := p.find(unknown, h.heads[i].id); ok {
			p.heads[n] = h.heads[i].head
		}
	}
	for i := range h.details {
		d := &h.details[i]
		if n, ok := p.find(unknown, d.id); ok {
			p.details[n] = f.detail(d.name, d.by, d.limit)
		}
	}
	for i := range h.seen {
		s := &h.seen[i]
		if n, ok := p.find(unknown, s.id); ok {
			p.see(n, h.addrs[s.from:s.to])
		}
	}
	if which&seen == 0 {
		return
	}
	for slot, e := range h.entries {
		if n, _ := p.find(uint32(slot), e.ID); p.seen[n] == unknown && !e.Used.IsUse() {
			p.seen[n] = 0 // it was never used
		}
	}
	p.compact()
}

// eachByte calls read with all bytes, from a few goroutines. It stops at an error.
func eachByte(read func(byte, *harvest) error) error {
	var next atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, min(4, runtime.GOMAXPROCS(0)))
	for w := range errs {
		wg.Go(func() {
			var h harvest
			for b := next.Add(1) - 1; b < 256 && errs[w] == nil; b = next.Add(1) - 1 {
				errs[w] = read(byte(b), &h)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
