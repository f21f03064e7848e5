package verify

import (
	"sync"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// limits keeps the records of tokens that may not do all that their user may: of these
// a verification must know more than the table has. It is cut into shards by the id's
// first random byte.
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

// drop is the writer's, once the change is on the disk: the record has changed.
func (l *limits) drop(id keys.ID) {
	sh := &l[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.turn++
	delete(sh.records, id)
}

// keep keeps a record that was read in a turn.
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
	for id := range sh.records { // any will do: they come again when they are needed
		if len(sh.records) < mostLimits {
			break
		}
		delete(sh.records, id)
	}
	sh.records[t.ID] = t
}
