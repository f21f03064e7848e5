package storage

import "slices"

// RevokeMatching revokes, of the tokens with these ids, those that the filter
// takes when it is their turn, and returns how many. A token that was used since
// the ids were found is left alone: the filter is asked again by the writer,
// just before it writes.
func (s *Store) RevokeMatching(by Actor, f TokenFilter, ids []ID) (n int, err error) {
	v, err := s.sieve(f)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(ids, mostRevoked) {
		revoked := 0
		err := s.takeAway(by, func(t *tx) (err error) {
			revoked, err = t.revokeMatching(f, v, part)
			return err
		})
		if err != nil {
			return n, err
		}
		n += revoked
	}
	return n, nil
}

func (t *tx) revokeMatching(f TokenFilter, v sieve, ids []ID) (n int, err error) {
	for _, id := range ids {
		e, ok, err := t.lookup(id)
		if err != nil {
			return n, err
		}
		if !ok || !v.takes(id, e.owner, e.used) || f.Owner != 0 && t.owners.at(e.owner).ID != f.Owner {
			continue
		}
		ok, err = t.revoke(id)
		if err != nil {
			return n, err
		}
		if ok {
			n++
		}
	}
	return n, nil
}

// Record brings into the audit log something that changes nothing itself. It is
// on the disk when it returns.
func (s *Store) Record(by Actor, e Event) error {
	return s.takeAway(by, func(t *tx) error {
		t.event(e)
		return nil
	})
}
