package verify

import (
	"sync"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// cache keeps records of limited tokens: the table does not have all that is needed to
// verify one. It is cut into shards by the id's first random byte.
type cache [256]cacheShard

// A record that was read while the writer changed it is not kept: version counts the
// changes.
type cacheShard struct {
	mu      sync.Mutex
	version uint64
	records map[keys.ID]*record.Token
}

// mostRecords is how many records a shard keeps.
const mostRecords = 64

func (c *cache) get(id keys.ID) (t *record.Token, version uint64) {
	sh := &c[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.records[id], sh.version
}

// drop forgets a record that has changed. The writer calls it once the change
// is on the disk.
func (c *cache) drop(id keys.ID) {
	sh := &c[id[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.version++
	delete(sh.records, id)
}

// put keeps a record that was read at a version.
func (c *cache) put(t *record.Token, version uint64) {
	sh := &c[t.ID[1]]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.version != version {
		return
	}
	if sh.records == nil {
		sh.records = make(map[keys.ID]*record.Token)
	}
	for id := range sh.records { // any one: a record that is needed again is read again
		if len(sh.records) < mostRecords {
			break
		}
		delete(sh.records, id)
	}
	sh.records[t.ID] = t
}
