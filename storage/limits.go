package storage

// limits keeps the records of a shard's tokens that may not do all that their
// user may: of these a verification must know more than the table has.
//
// A record that was read while the writer changed it is not kept: turn counts
// the changes.
type limits struct {
	turn    uint64
	records map[ID]*Token
}

// mostLimits is how many records a shard keeps.
const mostLimits = 64

func (l *limits) drop(id ID) {
	l.turn++
	delete(l.records, id)
}

func (l *limits) keep(t *Token) {
	if l.records == nil {
		l.records = make(map[ID]*Token)
	}
	for id := range l.records { // any will do: they come again when they are needed
		if len(l.records) < mostLimits {
			break
		}
		delete(l.records, id)
	}
	l.records[t.ID] = t
}

// limited returns the record of a limited token, of which only what limits it
// is up to date.
func (s *Store) limited(id ID) (*Token, error) {
	sh := s.table.shard(id)
	sh.mu.Lock()
	t, turn := sh.limits.records[id], sh.limits.turn
	sh.mu.Unlock()
	if t != nil {
		return t, nil
	}
	v, err := s.Token(id)
	if err != nil {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.limits.turn == turn {
		sh.limits.keep(&v)
	}
	return &v, nil
}
