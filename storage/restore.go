package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/restore"
)

// Restore puts a backup into a data directory that no process holds: see [restore.Run].
func Restore(ctx context.Context, from io.Reader, dir string, opts Options) (restore.Result, error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int, int) {}
	}
	return restore.Run(ctx, from, dir, restore.Options{
		KeyFile: opts.KeyFile, Holder: opts.Holder, Progress: opts.Progress,
		Finish: func(ctx context.Context, stage string, m backup.Manifest, ends record.Ends, last uint64) (int, error) {
			return finishStage(ctx, stage, opts, m, ends, last)
		},
	})
}

// finishStage opens the staged store, which builds its index, and ends there
// what has ended since the backup: before the store is in its place.
func finishStage(ctx context.Context, stage string, opts Options, m backup.Manifest, ends record.Ends, last uint64) (n int, err error) {
	opts.Progress("Building the index", 0, 0)
	s, err := openStore(ctx, stage, opts, func(end journal.Position) error {
		if m.HasLog() && end != m.Log {
			return &backup.Error{Reason: "its journal goes on where it should end"}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		// That it was opened here is no start.
		err = errors.Join(err, s.Close(), disk.WriteFile(s.path("restored-at"), nil))
	}()
	by, all := Actor{Name: "restore"}, len(ends.Tokens)+len(ends.Users)
	n, err = applyEnds(s, by, ends, func(done int) error {
		opts.Progress("Bringing over what has ended", done, all)
		return ctx.Err()
	})
	if err != nil {
		return n, err
	}
	detail := fmt.Sprintf("of a backup that ends with event %d", m.Last())
	if last > 0 {
		detail += fmt.Sprintf(", over a store that ended with event %d", last)
	}
	return n, s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionRestore, Detail: detail})
		return ctx.Err()
	})
}
