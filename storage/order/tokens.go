package order

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// tokens has the facts about all tokens.
type tokens struct {
	known[facts, table.Sight] // a note without an address: the token's record may have changed
	following                 sync.Mutex
	waiting                   atomic.Int32 // queries that wait for it
}

// withFacts runs fn on the facts as of now or later. They do not change until fn returns.
func (v *Views) withFacts(fn func(*facts) error) error {
	k := &v.tokens
	for {
		if err := k.get(v.closing, hurried, v.readTokens); err != nil {
			return err
		}
		f, err := v.followTokens(v.table.Unsaved(nil), true, v.closing)
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

// followTokens brings the facts up to date, by the notes and by the uses that are not noted
// yet. Those leave [table.Table.Unsaved] only when they are noted, so the caller gets them
// first. It rests now and then if nobody waits. It returns the facts, or nil if they are not
// there, and [disk.ErrClosed] once stop is closed.
func (v *Views) followTokens(unsaved []table.Sight, waits bool, stop <-chan struct{}) (*facts, error) {
	k := &v.tokens
	if waits {
		k.waiting.Add(1)
		defer k.waiting.Add(-1)
	}
	k.following.Lock() // a query must wait for the records that another one is reading
	defer k.following.Unlock()
	f, changes := k.changes(unsaved)
	if f == nil {
		return nil, nil
	}
	for list := range slices.Chunk(changes, 128) {
		k.see(list) // each of them, even while the store closes: they are no longer noted
		k.rest(stop, 0)
	}
	left := len(f.unread)
	for ids := range slices.Chunk(slices.Collect(maps.Keys(f.unread)), 8) {
		if disk.IsClosed(stop) {
			return nil, disk.ErrClosed
		}
		if err := v.readAgain(f, ids); err != nil {
			return nil, err
		}
		left -= len(ids)
		k.rest(stop, left)
	}
	return f, nil
}

// changes returns the facts and what is new to them. Notes stay while the facts are not there:
// they may be about a part that somebody has already read. If the facts are dropped after this,
// what is read in their place has the changes.
func (k *tokens) changes(unsaved []table.Sight) (*facts, []table.Sight) {
	k.RLock()
	defer k.RUnlock()
	if k.value == nil {
		return nil, nil
	}
	return k.value, append(k.notes.take(), unsaved...)
}

// see brings the facts up to date where they do not have what was seen.
func (k *tokens) see(list []table.Sight) {
	k.RLock()
	if k.value != nil {
		list = k.value.news(list)
	}
	k.RUnlock()
	if len(list) == 0 {
		return
	}
	k.Lock()
	defer k.Unlock()
	if k.value != nil {
		for _, s := range list {
			k.value.see(s)
		}
	}
}

// rest lets requests have the processor, unless a query waits, the store closes, or there is
// much to do: on an idle machine a rest takes a millisecond.
func (k *tokens) rest(stop <-chan struct{}, left int) {
	if left+k.notes.len() < manyNotes && k.waiting.Load() == 0 && !disk.IsClosed(stop) {
		time.Sleep(20 * time.Microsecond)
	}
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
