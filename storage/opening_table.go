package storage

import (
	"context"
	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"runtime/debug"
	"time"
)

// useTable uses the table's file if it is useful. A file that lacks changes or uses
// serves only until the index is open, so a start that waits for the index can't use it.
func (o *opening) useTable(file *table.File) {
	s := o.s
	exact := file.Uses != 0 && file.Uses == o.useLog.Found() && file.Position == s.journal.End()
	o.partial = !exact
	if !exact && !s.opts.Early {
		return
	}
	err := s.journal.Has(context.Background(), file.Position)
	if err == nil {
		err = file.Users(s.table, s.keys.Has, !exact)
	}
	if err == nil && !exact {
		err = o.loader().CatchUp(record.Log{Journal: s.journal}, file.Position.Sequence)
	}
	if err != nil {
		s.opts.Log.Warn("the saved table can't be used, so the start takes longer", "because", err)
		return
	}
	o.file, o.exact = file, exact
	if !exact {
		s.opts.Log.Info("the last stop was not clean; until the index is open, tokens are verified with the saved table",
			"records", s.journal.LastSequence()-file.Position.Sequence)
	}
}

// loadFile loads the whole of the table's file. If a part of the file is damaged, the
// records supply it.
func (o *opening) loadFile() {
	start := time.Now()
	if o.file == nil {
		return
	}
	if o.file.LoadAll(o.s.stillOpen) != nil {
		o.exact = false
		return
	}
	if o.exact {
		o.whole()
		o.s.opts.Log.Info("the table of tokens is loaded", "tokens", o.s.table.Len(), "took", time.Since(start))
	}
}

// loadTable fills table and owners from the records of the index, unless the table's
// file had everything. The store accepts no changes yet.
func (o *opening) loadTable() error {
	if isClosed(o.loaded) {
		return nil
	}
	start := time.Now()
	if err := o.loadRecords(); err != nil {
		return index.FaultOf("load the tokens", err)
	}
	o.whole()
	o.s.opts.Log.Info("the table of tokens is loaded from the records", "tokens", o.s.table.Len(), "took", time.Since(start))
	return nil
}

func (o *opening) loadRecords() error {
	s := o.s
	v, end, err := s.index.Begin()
	if err != nil {
		return err
	}
	defer end()
	if err := o.loader().LoadRecords(v); err != nil {
		return err
	}
	return s.opening.raiseFromLog()
}

// loader returns a loader for the current table.
func (o *opening) loader() table.Loader {
	s := o.s
	return table.Loader{Table: s.table, Seals: s.seals, Live: s.keys.Has, Stop: s.stillOpen}
}

// whole notes that verification now needs nothing but the table.
func (o *opening) whole() {
	o.s.table.Whole()
	close(o.loaded)
	debug.FreeOSMemory() // free the garbage of the growing table
}

// lookup finds a live token. Before all of the table's file is loaded, the token's shard
// is loaded first. Where the file is damaged, the records have the token.
func (s *Store) lookup(id ID) (table.Entry, bool, error) {
	e, ok, whole := s.table.Lookup(id)
	if ok || whole {
		return e, ok, nil
	}
	if err := s.opening.await(); err != nil {
		return table.Entry{}, false, err
	}
	e, ok, _ = s.table.Get(id)
	return e, ok, nil
}
