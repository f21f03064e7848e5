package verify

import (
	"sync"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// limits caches the records of limited tokens: to verify one of these takes more than
// the table has. It is cut into shards by the id's first random byte.
type limits [256]limitShard

// A record that was read while the writer changed it is not kept: turn counts
// the changes.
type limitShard struct {
	mu      sync.Mutex
	turn    uint64
	records map[keys.ID]*record.Token
}

// mostLimits is how many records a shard keeps.
const mostLimits = 64

func (l *limits) get(id keys.ID) (t *record.Token, turn uint64) {
	sh := &l[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.records[id], sh.turn
}

// drop forgets a record that has changed. The writer calls it once the change
// is on the disk.
func (l *limits) drop(id keys.ID) {
	sh := &l[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.turn++
	delete(sh.records, id)
}

// keep keeps a record that was read during that turn.
func (l *limits) keep(t *record.Token, turn uint64) {
	sh := &l[t.ID[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.turn != turn {
		return
	}
	if sh.records == nil {
		sh.records = make(map[keys.ID]*record.Token)
	}
	for id := range sh.records { // any one: a record that is needed again is read again
		if len(sh.records) < mostLimits {
			break
		}
		delete(sh.records, id)
	}
	sh.records[t.ID] = t
}
