package storage

import (
	"context"
	"time"

	"gatehouse/storage/checkpoint"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/opening"
	"gatehouse/storage/order"
	"gatehouse/storage/read"
	"gatehouse/storage/sealed"
	"gatehouse/storage/surplus"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
	"gatehouse/storage/writer"
)

// The parts of an open store. Opening has the others: its keys, its clock, its log of uses.
func (s *Store) Opening() *opening.Opening { return s.opening }
func (s *Store) Journal() *journal.Journal { return s.journal }
func (s *Store) Table() *table.Table       { return s.table }
func (s *Store) Index() *index.Index       { return s.index }
func (s *Store) Uses() *uses.Flusher       { return s.uses }
func (s *Store) Disk() *disk.Space         { return s.space }
func (s *Store) Writer() *writer.Writer    { return s.writer }
func (s *Store) Views() *order.Views       { return s.views }
func (s *Store) Reads() *read.Sources      { return s.reads }
func (s *Store) Surplus() *surplus.Finder  { return s.surplus }

// Hold opens a store early. Its index is opened when let is called.
func Hold(ctx context.Context, dir string, opts Options) (s *Store, let func(), err error) {
	s, err = begin(ctx, dir, opts)
	if err != nil {
		return nil, nil, err
	}
	s.start()
	s.stop.running.Add(1) // for the rest of the opening
	return s, func() {
		defer s.stop.running.Done()
		s.opening.Run()
	}, s.opening.File.LoadAll(s.stillOpen)
}

// CloseAtOnce closes a store without time to bring its uses into Badger.
func (s *Store) CloseAtOnce() error {
	s.stop.within = 0
	s.uses.RLock()
	defer s.uses.RUnlock()
	return s.Close()
}

// Flush brings all uses and expiring values into the index.
func (s *Store) Flush(ctx context.Context) error { return s.upkeep.flush(ctx) }

// Checkpoint makes a checkpoint, and writes the table's file.
func (s *Store) Checkpoint(ctx context.Context) error {
	<-s.opening.Compared()
	_, err := s.checkpoints.write(ctx)
	if at := s.table.Position(); err == nil && at != nil {
		err = s.checkpoints.writeTable(sealed.Moment{Position: *at})
	}
	return err
}

// CheckpointWhenDue does what the upkeep does once a day: it makes a checkpoint, and drops
// old events, and the keys that no token needs. It logs what fails.
func (s *Store) CheckpointWhenDue(ctx context.Context) {
	<-s.opening.Compared()
	<-s.uses.Counted()
	for s.checkpoints.busy.Swap(true) { // the upkeep is making one
		time.Sleep(time.Millisecond)
	}
	defer s.checkpoints.busy.Store(false)
	s.checkpoints.due.Store(true)
	s.checkpoints.makeIfDue(ctx)
}

// CheckpointFile returns the file of the last checkpoint.
func (s *Store) CheckpointFile() *checkpoint.File { return &s.checkpoints.file }

// Source returns the source of one backup or checkpoint.
func (s *Store) Source() checkpoint.Source { return s.checkpoints.source() }

// DropRecords drops the records of revoked tokens, as if they were surplus.
func (s *Store) DropRecords(list ...surplus.Token) error { return s.dropRecords(list) }

// OnRotation has step called after each step of a rotation of the key.
func (s *Store) OnRotation(step func(string)) { s.keyring.Step = step }

// Tx is one change of the store, of which its caller says what it consists of.
type Tx = tx

// Do makes the writer run fn.
func (s *Store) Do(by Actor, need journal.Need, fn func(*Tx) error) error { return s.do(by, need, fn) }

func (t *tx) AddToken(v Token) error                      { return t.addToken(v) }
func (t *tx) Revoke(id ID) (bool, error)                  { return t.revoke(id) }
func (t *tx) Edit(uid string, fn func(*User) error) error { return t.edit(uid, ActionUserDisable, fn) }

// MostTold bounds what is part of one change.
const MostTold = mostTold
