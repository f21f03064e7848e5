package storage

import "gatehouse/storage/table"

// restatement shortens the log of uses. A block says how often a token was used
// in all, since Badger was told, and not by how much more; so when everything
// has been said once more, what the log had before may go, and the log is never
// much longer than what there is to say, however often tokens are used and
// however far a pass is behind.
//
// One shard is said again at each tick. In one burst it would hold up whoever
// asks just then.
type restatement struct {
	shard  int    // the next
	before uint64 // the segments that may go at the end
}

// enoughLog is how long the log may become beyond twice what was left of it by
// the restatement before.
const enoughLog = 64 << 20

// restateSome has the log told of one more shard, if there is a reason. The
// next ticks write it.
func (s *Store) restateSome() error {
	if !s.old.recovered() {
		return nil // the segments of before the start are still to be read
	}
	r := s.restating
	if r == nil && s.uses.bytes < 2*s.restated+enoughLog {
		return nil
	}
	if r == nil {
		r = &restatement{before: s.uses.rotate()}
		s.restating = r
	}
	const each = table.Shards / flushSlices
	s.table.Unsave(r.shard%flushSlices*each + r.shard/flushSlices) // of another slice each time
	if r.shard++; r.shard < table.Shards {
		return nil
	}
	for slice := range flushSlices { // a tick may have been left out
		if err := s.saveUses(slice); err != nil {
			return err
		}
	}
	s.restating = nil
	err := s.uses.drop(r.before)
	s.restated = s.uses.bytes
	return err
}
