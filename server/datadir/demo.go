package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"gatehouse/server"
	"gatehouse/server/demo"
	"gatehouse/storage"
	"gatehouse/storage/disk"
)

// Demo is what a demonstration consists of.
type Demo struct {
	Users, Tokens int
	Sample        string    // the file that tokens are written to, unless it is empty
	NoServe       bool      // end when the store is full
	Out           io.Writer // for lines to paste into a shell
}

// Demo fills an empty store with made-up users and tokens, and serves it.
func (d Dir) Demo(ctx context.Context, o Demo) error {
	cfg, log, end, err := d.prepare(disk.BecomeOwner)
	if err != nil {
		return err
	}
	defer end()
	store, s, err := d.Open(cfg, log)
	if err != nil {
		return err
	}
	if o.NoServe {
		_, err = d.fill(ctx, store, o)
	} else {
		err = d.show(ctx, s, store, log, o)
	}
	return errors.Join(err, store.Close())
}

// mostSamples is how many tokens a sample holds at most.
const mostSamples = 10_000

// fill makes the users and tokens, and writes the sample.
func (d Dir) fill(ctx context.Context, store *storage.Store, o Demo) ([]storage.Secret, error) {
	if n := store.UserCount(); n > 0 {
		return nil, fmt.Errorf("%s already has %d users: name an empty directory with --data, or look at this one with `gatehouse serve`", d.Path, n)
	}
	f := demo.Options{Users: o.Users, Tokens: o.Tokens, Samples: mostSamples, Now: time.Now()}
	var sample *demo.Sample
	if o.Sample != "" {
		var err error
		if sample, err = demo.NewSample(o.Sample, min(o.Tokens, mostSamples)); err != nil {
			return nil, err
		}
		defer sample.Close()
	}
	if d.Terminal != nil {
		f.Progress = func(done int) { fmt.Fprintf(d.Terminal, "\r%d of %d tokens", done, o.Tokens) }
		defer fmt.Fprintln(d.Terminal)
	}
	start := time.Now()
	secrets, err := demo.Fill(ctx, store, f)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(d.Messages, "Made %d users and %d tokens in %v.\n", o.Users, o.Tokens, time.Since(start).Round(time.Millisecond))
	if sample != nil {
		err = sample.Write(secrets)
	}
	return secrets, err
}

// show fills the store and serves it. It listens first: if the port is taken, it must not
// leave a full store behind without having shown anybody a token.
func (d Dir) show(ctx context.Context, s *server.Server, store *storage.Store, log *slog.Logger, o Demo) error {
	hup, forget := hangups()
	defer forget()
	l, err := s.Listen()
	if err != nil {
		return err
	}
	secrets, err := d.fill(ctx, store, o)
	if len(secrets) > 0 && err == nil {
		err = demo.Explain(o.Out, l.URL(), secrets[0])
		if err == nil {
			_, err = fmt.Fprintf(o.Out, "gatehouse admin --data %s\n", quote(d.Path))
		}
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	d.ready(log, l)
	go d.reload(ctx, hup, s, log)
	return l.Serve(ctx)
}
