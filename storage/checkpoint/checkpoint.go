// Package checkpoint reads and writes the records of a store as one file: as a
// checkpoint, which the store keeps beside its journal, or as a backup, with the journal behind
// the records.
//
//	Source.Write   one moment of the index  ->  a checkpoint or a backup
//	File.Put       the checkpoint           ->  an empty index, which then takes the journal
//
// It never decides when to make a checkpoint or which part of the journal may go, changes
// nothing in the index, and never passes on data that does not verify. Package backup
// defines the format.
package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
)

// File is the checkpoint that a store keeps.
type File struct {
	Path string
	Key  [32]byte                     // authenticates it
	Has  func(journal.Position) error // returns nil if the journal has the position
	Stop func() error                 // returns an error to end a walk
}

// Last returns the manifest of the checkpoint; zero if there is no usable
// checkpoint.
func (f *File) Last() backup.Manifest {
	m, err := f.Manifest()
	if err != nil {
		return backup.Manifest{}
	}
	return m
}

// Manifest reads the beginning of the checkpoint.
func (f *File) Manifest() (backup.Manifest, error) {
	r, err := f.begin()
	if err != nil {
		return backup.Manifest{}, err
	}
	return r.Manifest, nil
}

// HasKeyring reports whether the checkpoint has exactly this sealed keyring.
func (f *File) HasKeyring(sealed []byte) bool {
	r, err := f.begin()
	return err == nil && bytes.Equal(r.Keyring, sealed)
}

// begin reads the beginning. The reader that it returns has nothing more to read.
func (f *File) begin() (*backup.Reader, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return backup.Open(in)
}

// read calls fn with each chunk of the checkpoint's operations. It returns nil
// only if the checkpoint is complete and belongs to this journal.
func (f *File) read(fn func(ops []byte) error) (backup.Manifest, error) {
	in, err := os.Open(f.Path)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer in.Close()
	r, err := backup.Open(in)
	if err == nil {
		err = r.Records(func(ops []byte) error {
			if err := f.Stop(); err != nil {
				return err
			}
			return fn(ops)
		})
	}
	if err == nil {
		err = errors.Join(r.AtEnd(), r.Authentic(f.Key))
	}
	if err == nil {
		err = f.Has(r.Manifest.Position)
	}
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("%s: %w", in.Name(), err)
	}
	return r.Manifest, nil
}

// Check reads all of the checkpoint.
func (f *File) Check() error {
	_, err := f.read(func([]byte) error { return nil })
	return err
}

// Completes returns nil if the checkpoint holds every record before first, which is the
// first record of the journal. It reads all of the checkpoint.
func (f *File) Completes(first uint64) error {
	err := f.Check()
	switch {
	case err == nil, errors.Is(err, disk.ErrClosed):
		return err
	case disk.Refusal(err) != 0:
		return fmt.Errorf("%w: read the checkpoint: %w", disk.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: the index must be rebuilt, but the journal begins with record %d, and the checkpoint before it can't be used (%w): %s",
		disk.ErrDamaged, first, err, disk.RestoreAdvice)
}

// Put calls put with each operation of the checkpoint, and returns its sequence.
func (f *File) Put(put func(record.Op) error) (uint64, error) {
	if err := f.Check(); err != nil { // check all of it first: nothing from a damaged checkpoint is put
		return 0, err
	}
	m, err := f.read(func(ops []byte) error {
		_, err := record.EachOp(ops, put)
		return err
	})
	return m.Sequence, err
}
