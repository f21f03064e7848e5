package storage

import (
	"encoding/json"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// viewsIndex is what the sorted views read of the index: see [order.Index].
type viewsIndex struct{ s *Store }

func (x viewsIndex) Held(user record.UserID, fn func(id keys.ID, created int64)) error {
	return x.owned(record.HeldBy(user), fn)
}

func (x viewsIndex) Owned(first byte, fn func(id keys.ID, created int64)) error {
	return x.owned(record.Key('o', []byte{first}), fn)
}

func (x viewsIndex) owned(prefix []byte, fn func(id keys.ID, created int64)) error {
	return x.s.view(func(rd *reader) error {
		for k := range rd.Scan(prefix) {
			created, id := record.CutOwnedKey(k)
			fn(id, created)
		}
		return nil
	})
}

func (x viewsIndex) Users(fn func(id record.UserID, created int64)) error {
	return x.s.view(func(rd *reader) error {
		return rd.Each([]byte{'u'}, func(k, v []byte) error {
			o, rest, err := record.ParseOwner(record.DecodeUserID(k[1:]), v)
			if err != nil {
				return err
			}
			var in struct {
				Created int64 `json:"created"`
			}
			if err := json.Unmarshal(rest, &in); err != nil {
				return err
			}
			fn(o.ID, in.Created)
			return nil
		})
	})
}
