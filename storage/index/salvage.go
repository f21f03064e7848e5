package index

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
)

// Salvage calls fn with all that an index in a directory has of some kinds, as it is
// stored. It changes nothing there: it reads by way of another directory, which it makes
// and which is for the caller to remove. Of an index that can't be read it reads as much
// as it can. It returns only an error of fn.
func Salvage(dir, by, kinds string, fn func(key, stored []byte) error) error {
	if err := link(dir, by); err != nil || CheckFiles(by) != nil {
		return nil
	}
	db, err := openReadOnly(by)
	if err != nil {
		return nil
	}
	defer db.Close()
	txn := db.NewTransaction(false)
	defer txn.Discard()
	for _, kind := range []byte(kinds) {
		for item := range scan(txn, []byte{kind}, nil, false) {
			stored, err := item.ValueCopy(nil)
			if err != nil {
				break
			}
			if err := fn(item.KeyCopy(nil), stored); err != nil {
				return err
			}
		}
	}
	return nil
}

// link puts an index elsewhere, so that nothing is changed of it. What Badger writes
// to, even when it only reads, is copied.
func link(from, to string) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".sst", ".vlog":
			err = os.Link(from, to)
		default:
			var b []byte
			if b, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(to, b, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openReadOnly opens a Badger that makes nothing and runs nothing.
func openReadOnly(dir string) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil { // it panics at some damage
			err = fmt.Errorf("%w: %v", disk.ErrDamaged, p)
		}
	}()
	return badger.Open(badgerOptions(dir).WithReadOnly(true))
}
