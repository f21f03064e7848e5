// Package datadir does what commands do with a data directory on this host: serve
// it, fill it for a demonstration, back it up, restore it, administer it.
//
// Dir.Client returns a client that administers. When a server runs on the directory,
// the client talks to it through the unix socket. When none does, it opens the store
// and calls the same handlers in this process. The package opens and closes stores and
// servers; it never answers a request and never changes a user or a token itself.
package datadir

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
	"strings"
	"syscall"

	"gatehouse/server"
	"gatehouse/server/admin"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
)

// Dir is a data directory.
type Dir struct {
	Path     string
	Command  string                   // of this process, such as "gatehouse serve": named to others while it holds the store
	Config   string                   // the configuration file; empty: config.toml in the directory, if there is one
	Listen   string                   // in place of the configuration's address, unless it is empty
	Origin   func(flag string) string // where the value of a flag comes from; empty: nobody has set it
	Version  string
	Messages io.Writer
	Terminal io.Writer // Messages, if that is a terminal; else nil
	Create   bool      // Client makes a store if there is none

	logs *config.LogHandler // of the server
	key  keys.File          // see readKey
}

// Open opens the store, and a server on it.
func (d Dir) Open(cfg config.Config, log *slog.Logger) (*storage.Store, *server.Server, error) {
	return d.start(cfg, storage.Options{Log: log})
}

// OpenEarly is [Dir.Open], but returns as soon as tokens can be verified: see
// storage.Options.
func (d Dir) OpenEarly(cfg config.Config, log *slog.Logger) (*storage.Store, *server.Server, error) {
	return d.start(cfg, storage.Options{Log: log, Early: true})
}

func (d Dir) start(cfg config.Config, o storage.Options) (*storage.Store, *server.Server, error) {
	o.KeyFile, o.Key, o.Holder, o.MaxPerUser = cfg.KeyFile, d.key, d.Command, cfg.Tokens.MaxPerUser
	o.KeepEvents, o.MostEvents, o.Segment = cfg.Audit.Keep.Duration, cfg.Audit.MaxSize.Bytes, cfg.Audit.Segment()
	store, err := storage.Open(d.Path, o)
	if err != nil {
		return nil, nil, err
	}
	s, err := server.New(store, cfg, server.Options{Version: d.Version, Log: o.Log})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, s, nil
}

// Client returns a client that administers the directory; the caller closes it.
func (d Dir) Client(ctx context.Context) (*api.Client, error) {
	return d.client(ctx, disk.BecomeOwner)
}

// Running returns a client of the server that runs on the directory, or an error if none
// does. The caller closes it.
func (d Dir) Running(ctx context.Context) (*api.Client, error) {
	if err := disk.CheckPrivate(d.Path); err != nil {
		return nil, err
	}
	c := api.Dial(listen.SocketPath(d.Path))
	return c, c.Ping(ctx)
}

// client is Client. Before it opens the store itself, it calls become, which gives
// the process the identity of the directory's owner.
func (d Dir) client(ctx context.Context, become func(dir string) error) (*api.Client, error) {
	c, err := d.Running(ctx)
	if c == nil || err == nil {
		return c, err
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("only %s may do this: %w", d.owners(), fs.ErrPermission)
	}
	unreachable, ok := errors.AsType[*api.UnreachableError](err)
	if !ok {
		return nil, err
	}
	has, err := storage.HasData(d.Path)
	if err != nil {
		return nil, err
	}
	if !has && !d.Create {
		return nil, fmt.Errorf("there is no store in %s: start one with `gatehouse serve`, or name another directory with --data", d.Path)
	}
	c, err = d.offline(ctx, become)
	if errors.As(err, new(*disk.LockedError)) {
		return nil, &api.UnreachableError{Socket: unreachable.Socket, Err: err}
	}
	return c, err
}

// offline opens the store in this process, as its owner. The audit log will name the
// account that the process had before. offline waits until the store has counted the uses
// that a killed server left in their log: a command reads a listing only once.
func (d Dir) offline(ctx context.Context, become func(dir string) error) (*api.Client, error) {
	actor := account()
	d.key = d.readKey()
	if err := become(d.Path); err != nil {
		return nil, err
	}
	cfg, _, err := d.Settings()
	if err != nil {
		return nil, err
	}
	cfg.TLS, cfg.Gate, cfg.Metrics.Listen = config.TLS{}, config.Gate{}, "" // no port is opened
	// A missing file keeps the server from starting, but must not keep anybody from
	// revoking a token.
	if err := cfg.CheckFiles(); err != nil {
		fmt.Fprintf(d.Messages, "Continuing without the directory and the providers: %v\n", err)
		cfg.LDAP, cfg.OAuth = nil, nil
	}
	log := slog.New(slog.NewTextHandler(d.Messages, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, s, err := d.Open(cfg, log)
	if err != nil {
		return nil, err
	}
	if err := store.AwaitUses(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	fmt.Fprintf(d.Messages, "No server is running: working on the store in %s itself.\n", d.Path)
	return api.InProcess(s.AdminHandler(actor), func() error { return d.close(store) }), nil
}

// close closes the store. A full disk then is no failure of the command: the store is as a
// kill would leave it, and nothing in it is lost, unless Close says so.
func (d Dir) close(s *storage.Store) error {
	err := s.Close()
	if errors.Is(err, storage.ErrNoSpace) && !errors.Is(err, storage.ErrUnsaved) {
		fmt.Fprintf(d.Messages, "The disk of %s is full: make room there.\n", d.Path)
		return nil
	}
	return err
}

// readKey reads the key file before root becomes the owner of the directory. systemd
// passes the server a key (LoadCredential) that only root can read. On an
// error it returns no key: opening the store then reads the file, and reports the error.
func (d Dir) readKey() keys.File {
	cfg, _, err := d.Settings()
	if err != nil || cfg.KeyFile == "" {
		return keys.File{}
	}
	f, err := keys.ReadFile(cfg.KeyFile)
	if err != nil {
		return keys.File{}
	}
	return f
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
	if groups := listen.SharedWith(d.Path); len(groups) > 0 {
		if st.Uid != 0 {
			name = "root, " + name
		}
		return name + ", " + whose + ", and members of " + strings.Join(groups, ", ") + " as far as their role allows"
	}
	if st.Uid != 0 {
		name = "root and " + name
	}
	return name + ", " + whose + ","
}

// account returns the name of the account that the person who runs this process logged in
// as, such as before sudo.
func account() string {
	return admin.UserName(listen.LoggedIn(os.Getpid(), uint32(os.Getuid())))
}
