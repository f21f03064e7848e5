package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// plain is the child that writes into a Badger with default settings, like the
// writers of a store, with one key in each transaction.
func plain(args []string) error {
	db, err := badger.Open(badger.DefaultOptions(args[0]).WithLogger(nil).WithSyncWrites(args[1] == "sync"))
	if err != nil {
		return err
	}
	errs := make(chan error)
	for w := range writers {
		go func() {
			for n := 0; ; n++ {
				k := fmt.Sprintf("%d.%d", w, n)
				os.Stdout.WriteString(fmt.Sprintf("? %d create plain %s\n", w, k))
				err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(k), []byte(strings.Repeat("v", 100))) })
				if err != nil {
					errs <- err
					return
				}
				os.Stdout.WriteString(fmt.Sprintf("! %d %s -\n", w, k))
			}
		}()
	}
	return <-errs
}

// plainLost counts the acknowledged keys that are gone.
func plainLost(dir string, l *ledger) (lost int, err error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return len(l.Tokens), err
	}
	defer db.Close()
	err = db.View(func(txn *badger.Txn) error {
		for k := range l.Tokens {
			if _, err := txn.Get([]byte(k)); errors.Is(err, badger.ErrKeyNotFound) {
				lost++
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return lost, err
}
