// Package local is a data directory on this host, and what commands do with it:
// serve it, fill it for a demonstration, back it up, restore it. Client is the
// way to its administration: to the server that holds it, through its unix
// socket, or, when none does, to the store itself, with the same administration
// in this process. It opens and closes; what the administration does is the
// server's.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"gatehouse/server"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// Dir is a data directory.
type Dir struct {
	Path     string
	Command  string // how another process is told who holds the store
	Config   string // the configuration file; empty: config.toml in the directory, if there is one
	Listen   string // in place of the configuration's address, unless it is empty
	Version  string
	Messages io.Writer
	Terminal io.Writer // the same where a person looks at it, else nil
}

// Open opens the store, and a server on it; early, as soon as tokens can be
// verified.
func (d Dir) Open(cfg server.Config, log *slog.Logger, early bool) (*storage.Store, *server.Server, error) {
	store, err := storage.Open(d.Path, storage.Options{
		KeyFile: cfg.KeyFile, MaxPerUser: cfg.Tokens.MaxPerUser, Holder: d.Command, Log: log, Early: early,
	})
	if err != nil {
		return nil, nil, err
	}
	s, err := server.New(store, cfg, server.Options{Version: d.Version, Log: log})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, s, nil
}

// Client returns the administration. With create it makes a store where there
// is none; otherwise that is an error, since a mistyped directory is likelier.
func (d Dir) Client(ctx context.Context, create bool) (*api.Client, error) {
	return d.client(ctx, create, storage.BecomeOwner)
}

// client is Client, but that become makes the process the owner's where it
// works on the store itself.
func (d Dir) client(ctx context.Context, create bool, become func(dir string) error) (*api.Client, error) {
	c := api.Dial(server.SocketPath(d.Path))
	err := c.Ping(ctx)
	if err == nil {
		return c, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("only %s may do this: %w", d.owners(), fs.ErrPermission)
	}
	unreachable := (*api.UnreachableError)(nil)
	if !errors.As(err, &unreachable) {
		return nil, err
	}
	has, err := storage.HasData(d.Path)
	if err != nil {
		return nil, err
	}
	if !has && !create {
		return nil, fmt.Errorf("there is no store in %s: start one with `gatehouse serve`, or name another directory with --data", d.Path)
	}
	c, err = d.offline(become)
	if errors.As(err, new(*storage.LockedError)) {
		return nil, &api.UnreachableError{Socket: unreachable.Socket, Err: err}
	}
	return c, err
}

// offline works on the store itself, as its owner and in the name of who asked.
func (d Dir) offline(become func(dir string) error) (*api.Client, error) {
	actor := account()
	if err := become(d.Path); err != nil {
		return nil, err
	}
	cfg, _, err := d.Settings()
	if err != nil {
		return nil, err
	}
	cfg.TLS = server.TLSConfig{} // no port is opened
	// A file that is gone keeps the server from starting, and is no reason to keep
	// from revoking meanwhile.
	if err := cfg.CheckFiles(); err != nil {
		fmt.Fprintf(d.Messages, "Going on without the directory and the providers: %v\n", err)
		cfg.LDAP, cfg.OAuth = nil, nil
	}
	log := slog.New(slog.NewTextHandler(d.Messages, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, s, err := d.Open(cfg, log, false)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(d.Messages, "No server is running: working on the store in %s itself.\n", d.Path)
	return api.InProcess(s.AdminHandler(actor), store.Close), nil
}

// owners names root and the account that the directory belongs to.
func (d Dir) owners() string {
	whose := "the owner of " + d.Path
	info, err := os.Stat(d.Path)
	if err != nil {
		return "root and " + whose
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "root and " + whose
	}
	id := strconv.FormatUint(uint64(st.Uid), 10)
	name := "user " + id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	if st.Uid != 0 {
		name = "root and " + name
	}
	return name + ", " + whose + ","
}

// account names the host's account that this process runs as.
func account() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
