package opening

import (
	"context"
	"runtime/debug"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
)

// useTable uses the table's file if it is useful. A file that lacks changes or uses
// serves only until the index is open, so a start that waits for the index can't use it.
func (o *Opening) useTable(file *table.File) {
	exact := file.Uses != 0 && file.Uses == o.UseLog.Found() && file.Position == o.Journal.End()
	o.partial = !exact
	if !exact && !o.AllowEarly {
		return
	}
	err := o.Journal.Has(context.Background(), file.Position)
	if err == nil {
		err = file.Users(o.Table, o.Tokens.Has, !exact)
	}
	if err == nil && !exact {
		err = o.loader().CatchUp(record.Journal{Journal: o.Journal}, file.Position.Sequence)
	}
	if err != nil {
		o.Log.Warn("the saved table can't be used, so the start takes longer", "because", err)
		return
	}
	o.File, o.Exact = file, exact
	if !exact {
		o.Log.Info("the last stop was not clean; until the index is open, tokens are verified with the saved table",
			"records", o.Journal.LastSequence()-file.Position.Sequence)
	}
}

// loadFile loads the whole of the table's file. If a part of the file is damaged, the
// records supply it.
func (o *Opening) loadFile() {
	start := time.Now()
	if o.File == nil {
		return
	}
	if o.File.LoadAll(o.stillOpen) != nil {
		o.Exact = false
		return
	}
	if o.Exact {
		o.whole()
		o.Log.Info("the table of tokens is loaded", "tokens", o.Table.Len(), "took", time.Since(start))
	}
}

// loadTable fills table and owners from the records of the index, unless the table's
// file had everything. The store accepts no changes yet.
func (o *Opening) loadTable() error {
	if disk.IsClosed(o.loaded) {
		return nil
	}
	start := time.Now()
	if err := o.loadRecords(); err != nil {
		return index.FaultOf("load the tokens", err)
	}
	o.whole()
	o.Log.Info("the table of tokens is loaded from the records", "tokens", o.Table.Len(), "took", time.Since(start))
	return nil
}

func (o *Opening) loadRecords() error {
	v, end, err := o.Index.Begin()
	if err != nil {
		return err
	}
	defer end()
	if err := o.loader().LoadRecords(v); err != nil {
		return err
	}
	return o.UseLog.LastUses(o.Table.Recall) // so that no last use goes back
}

// loader returns a loader for the current table.
func (o *Opening) loader() table.Loader {
	return table.Loader{Table: o.Table, Seals: o.Seals, Live: o.Tokens.Has, Stop: o.stillOpen}
}

// whole notes that verification now needs nothing but the table.
func (o *Opening) whole() {
	o.Table.Whole()
	close(o.loaded)
	debug.FreeOSMemory() // free the garbage of the growing table
}
