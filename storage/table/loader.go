package table

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Loader fills a table from the records of the index, all at once, or from the
// operations of the journal, one after the other.
type Loader struct {
	Table *Table
	Seals *keys.Seals
	Live  func(key byte) bool // reports whether a key is live; tokens of other keys are dead and left out
	Stop  func() error        // ends LoadRecords with its error
}

// Journal is what CatchUp reads of the journal.
type Journal interface {
	// Ops calls fn with the operations of each record after a sequence.
	Ops(after uint64, fn func(sequence uint64, ops []record.Op) error) error
}

// CatchUp applies every later change to the table. Shards may be loaded from the file
// afterwards: loading never overwrites a newer change.
func (l Loader) CatchUp(j Journal, after uint64) error {
	err := j.Ops(after, func(_ uint64, ops []record.Op) error {
		for _, o := range ops {
			if err := l.apply(o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bring the table up to date: %w", err)
	}
	l.dropRemoved()
	return nil
}

// apply applies an operation of the journal on a token or a user to the table. The shards
// may be loaded before or after: an applied change is newer than the file.
func (l Loader) apply(o record.Op) error {
	if o.Key[0] != 't' && o.Key[0] != 'u' {
		return nil
	}
	if o.Value == nil && o.Key[0] == 't' {
		l.Table.Remove(keys.ID(o.Key[1:])) // the token was revoked, and only its end is kept
		return nil
	}
	if o.Value == nil {
		return fmt.Errorf("%w: the journal deletes the record %q", disk.ErrDamaged, o.Key)
	}
	b, err := l.Seals.Open(o.Key, o.Value)
	if err != nil {
		return err
	}
	if o.Key[0] == 'u' {
		return l.setOwner(o.Key, b)
	}
	t, err := record.ParseTokenHead(keys.ID(o.Key[1:]), b)
	if err != nil {
		return err
	}
	if t.Revoked != 0 || !l.Live(t.ID[0]) {
		l.Table.Remove(t.ID)
		return nil
	}
	if v, n, ok := l.Table.Owners.Find(t.Owner); ok && v.State != record.UserRemoved {
		l.Table.Put(Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: record.CreatedAt(t.Created)})
	}
	return nil
}

// dropRemoved removes the tokens of users whom applied operations have removed.
func (l Loader) dropRemoved() {
	var dead []keys.ID
	l.Table.Each(func(e Entry) {
		if l.Table.Owners.State(e.Owner) == record.UserRemoved {
			dead = append(dead, e.ID)
		}
	})
	for _, id := range dead {
		l.Table.Remove(id)
	}
}

// Records are the records of the index.
type Records interface {
	// Each calls fn with the records under a prefix. It may be called by many
	// goroutines.
	Each(prefix []byte, fn func(key, value []byte) error) error
}

// LoadRecords loads all users, unless the table has users already, and all tokens with
// the last uses that the index has.
func (l Loader) LoadRecords(from Records) error {
	if l.Table.Owners.Len() == 0 {
		if err := from.Each([]byte{'u'}, l.setOwner); err != nil {
			return err
		}
	}
	for key := range 256 {
		if !l.Live(byte(key)) {
			continue
		}
		if err := l.loadKey(from, byte(key)); err != nil {
			return err
		}
	}
	return nil
}

func (l Loader) setOwner(key, value []byte) error {
	v, _, err := record.ParseOwner(record.DecodeUserID(key[1:]), value)
	if err == nil {
		l.Table.Owners.Set(v)
	}
	return err
}

// loadKey distributes the ids to workers by their first random byte, which is also
// their shard. So no two workers touch the same shard.
func (l Loader) loadKey(from Records, key byte) error {
	var next atomic.Int32
	return inParallel(func() error {
		for shard := next.Add(1) - 1; shard < Shards; shard = next.Add(1) - 1 {
			if err := l.Stop(); err != nil {
				return err
			}
			if err := l.loadShard(from, key, byte(shard)); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadShard reads the last uses first, so that no token ever appears with a last use that
// is too old.
func (l Loader) loadShard(from Records, key, shard byte) error {
	uses := map[keys.ID]record.LastUse{}
	err := from.Each([]byte{'l', key, shard}, func(k, v []byte) error {
		uses[keys.ID(k[1:])] = record.ParseLastUse(v)
		return nil
	})
	if err != nil {
		return err
	}
	return from.Each([]byte{'t', key, shard}, func(k, v []byte) error {
		t, err := record.ParseTokenHead(keys.ID(k[1:]), v)
		if err == nil {
			l.load(t, uses[t.ID])
		}
		return err
	})
}

// load puts a token into the table, unless the token is dead or its owner is
// removed.
func (l Loader) load(t record.TokenHead, used record.LastUse) {
	created := record.CreatedAt(t.Created)
	used = created.Later(used)
	if used == created|1 {
		used = record.UsedAt(created.Ms() + 1) // the value that raise stores
	}
	if v, n, ok := l.Table.Owners.Find(t.Owner); ok && v.State != record.UserRemoved && t.Revoked == 0 {
		l.Table.Load(Entry{ID: t.ID, Generation: t.Generation, Flags: t.Flags, Owner: n, Used: used})
	}
}

// inParallel runs a function in as many workers as there are processors.
func inParallel(work func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() { errs[w] = work() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
