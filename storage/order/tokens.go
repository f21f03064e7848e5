package order

import (
	"maps"
	"slices"
	"sync"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// tokens has the facts about all tokens.
type tokens struct {
	known[facts, table.Sight] // a note without an address: the token's record may have changed
	following                 sync.Mutex
}

// withFacts runs fn on the facts as of now or later. They do not change until fn returns.
func (v *Views) withFacts(fn func(*facts) error) error {
	k := &v.tokens
	for {
		if err := k.get(v.closing, true, v.readTokens); err != nil {
			return err
		}
		f, err := v.followTokens(v.table.Unsaved(nil), v.closing)
		if err != nil {
			return err
		}
		k.RLock()
		if k.value == f && f != nil {
			defer k.RUnlock()
			return fn(f)
		}
		k.RUnlock() // they were dropped
	}
}

// followTokens reads the records again that have changed, by the notes and by the uses that
// are not noted yet. Those leave [table.Table.Unsaved] only when they are noted, so the
// caller gets them first. It returns the facts, or nil if they are not there, and
// [disk.ErrClosed] once stop is closed.
func (v *Views) followTokens(unsaved []table.Sight, stop <-chan struct{}) (*facts, error) {
	k := &v.tokens
	k.following.Lock() // a query must wait for the records that another one is reading
	defer k.following.Unlock()
	k.RLock()
	f := k.value
	if f != nil {
		f.look(unsaved)
		f.look(k.notes.take())
	}
	k.RUnlock()
	if f == nil {
		return nil, nil
	}
	for ids := range slices.Chunk(slices.Collect(maps.Keys(f.unread)), 64) {
		if disk.IsClosed(stop) {
			return nil, disk.ErrClosed
		}
		if err := v.readAgain(f, ids); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// readAgain reads the records of tokens that have changed, without the lock.
func (v *Views) readAgain(f *facts, ids []keys.ID) error {
	list := make([]record.Token, len(ids))
	there := make([]bool, len(ids))
	for i, id := range ids {
		var err error
		if list[i], there[i], err = v.index.Token(id); err != nil {
			return err
		}
	}
	v.tokens.Lock()
	defer v.tokens.Unlock()
	for i, id := range ids {
		delete(f.unread, id)
		if _, live, _ := v.table.Get(id); live && there[i] {
			p := &f.parts[id[1]]
			f.set(p, p.add(id), &list[i])
		} else if !live {
			f.dead.put(v, f, id, &list[i], there[i])
		}
	}
	return nil
}

// readTokens reads the facts. Nobody else uses them yet.
func (v *Views) readTokens(p *reading) (*facts, error) {
	f := &facts{unread: map[keys.ID]struct{}{}}
	f.dead.reserve(0)
	var mu sync.Mutex // guards what the parts share
	err := p.parts(func(b byte, w *worker) error { return v.readPart(f, &mu, b, w) })
	f.first = len(f.texts.blocks)
	return f, err
}

// readPart reads the facts about the tokens with this first random byte.
func (v *Views) readPart(f *facts, mu *sync.Mutex, b byte, w *worker) error {
	p := &f.parts[b]
	all := table.Any()
	entries := v.table.AppendIn(nil, b, &all)
	p.reserve(len(entries))
	for i := range entries {
		p.add(entries[i].ID)
	}
	var dead []keys.ID
	err := v.index.TokensIn(b, func(t *record.Token) {
		w.rest()
		if n, ok := p.find(beyond, t.ID); ok {
			mu.Lock()
			f.setRecord(p, n, t)
			mu.Unlock()
		} else if _, live, _ := v.table.Get(t.ID); !live {
			dead = append(dead, t.ID)
		}
	})
	if err != nil {
		return err
	}
	asked := make([]bool, len(entries))
	err = v.index.SeenIn(b, func(id keys.ID, list []record.Seen) {
		w.rest()
		if n, ok := p.find(beyond, id); ok {
			p.see(n, list)
			asked[n] = true
		}
	})
	if err != nil {
		return err
	}
	p.compact()
	for _, id := range dead {
		w.rest()
		t, ok, err := v.index.Token(id)
		if err != nil {
			return err
		}
		mu.Lock()
		f.dead.put(v, f, id, &t, ok)
		mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	for n := range entries {
		if !p.knows(uint32(n)) || entries[n].Used.IsUse() && !asked[n] {
			f.unread[entries[n].ID] = struct{}{}
		}
	}
	return nil
}
