package index

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"gatehouse/storage/disk"
)

// Salvage calls fn with all stored records of some kinds in the index of a directory. It
// changes nothing there: it reads through another directory, which it makes and the
// caller removes. If the index is damaged, Salvage reads as much as it can. It returns
// only an error of fn.
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
		for item := range scan(txn, []byte{kind}, nil, forwards) {
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

// link makes a second directory with the files of an index, so that reading changes
// nothing in the first. It copies the files that Badger writes to even when it only
// reads.
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

// openReadOnly opens a Badger that creates no files and runs no background
// work.
func openReadOnly(dir string) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil { // it panics at some damage
			err = fmt.Errorf("%w: %v", disk.ErrDamaged, p)
		}
	}()
	return badger.Open(badgerOptions(dir).WithReadOnly(true))
}
