package datadir

import (
	"context"
	"fmt"
	"io"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/restore"
)

// Restore puts a backup into the directory, as its owner. It says how far it is,
// what it has restored, and what is left to do.
func (d Dir) Restore(ctx context.Context, backup io.Reader) error {
	if err := disk.CheckPrivate(d.Path); err != nil {
		return err
	}
	key := d.readKey()
	if err := disk.BecomeOwner(d.Path); err != nil {
		return err
	}
	cfg, _, err := d.Settings()
	if err != nil {
		return err
	}
	p := &steps{out: d.Messages, terminal: d.Terminal != nil}
	r, err := storage.Restore(ctx, &patient{ctx, backup}, d.Path, storage.Options{KeyFile: cfg.KeyFile, Key: key, Holder: d.Command, Progress: p.say})
	p.end()
	if err == nil {
		explain(d.Messages, r)
	}
	return err
}

// explain says what was restored, and what is left to do.
func explain(out io.Writer, r restore.Result) {
	fmt.Fprintf(out, "Restored %s and %s, as of %s.\n", plural(r.Users, "user"), plural(r.Tokens, "token"), time.UnixMilli(r.Created).Format(time.RFC3339))
	if r.OldKey != "" {
		fmt.Fprintf(out, "The backup is from before the key was rotated: %s opened it. The restored store needs only the present key.\n", r.OldKey)
		if r.Kept == "" {
			fmt.Fprintln(out, "New tokens use the token key of that time. If it may have leaked, run `gatehouse key rotate`.")
		}
	}
	if r.Revoked > 0 {
		fmt.Fprintf(out, "Revoked, disabled or removed after the backup, and still so: %d.\n", r.Revoked)
	}
	for _, what := range r.Unread {
		fmt.Fprintf(out, "This part of the older store could not be read, so what was revoked there may work again: %s\n", what)
	}
	if r.Kept != "" {
		fmt.Fprintf(out, "The previous store is in %s: delete it when you no longer need it.\n", r.Kept)
	}
	if r.NoKey != "" {
		fmt.Fprintf(out, "Put the key file of that installation at %s before you start the server.\n", r.NoKey)
	}
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
