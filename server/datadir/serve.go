package datadir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"

	"gatehouse/server"
	"gatehouse/server/admin"
	"gatehouse/storage/disk"
)

// Serve runs the server until the context ends.
func (d Dir) Serve(ctx context.Context) error {
	hup, forget := hangups()
	defer forget()
	cfg, log, end, err := d.prepare(disk.CheckOwner)
	if err != nil {
		return err
	}
	defer end()
	store, s, err := d.OpenEarly(cfg, log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		if store.Opened(ctx) != nil {
			stop() // and Close returns why
		}
	}()
	watched, unwatch := context.WithCancel(context.Background())
	defer unwatch() // when the store is closed: a stop may take longer than the watchdog waits
	go watchdog(watched, answersOf(store), log)
	return errors.Join(d.listenAndServe(ctx, hup, s, log), store.Close())
}

func (d Dir) listenAndServe(ctx context.Context, hup <-chan os.Signal, s *server.Server, log *slog.Logger) error {
	l, err := s.Listen()
	if err != nil {
		return err
	}
	file, password, made, err := s.FirstRun(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if made {
		d.welcome(l.URL(), file, password)
	}
	d.ready(log, l)
	daemon.SdNotify(false, daemon.SdNotifyReady)
	defer context.AfterFunc(ctx, func() { daemon.SdNotify(false, daemon.SdNotifyStopping) })()
	go d.reload(ctx, hup, s, log)
	err = l.Serve(ctx)
	log.Info("stopped")
	return err
}

func (d Dir) ready(log *slog.Logger, l *server.Listener) {
	args := []any{"url", l.URL(), "data", d.Path, "version", d.Version}
	if url := l.MetricsURL(); url != "" {
		args = append(args, "metrics", url)
	}
	if url := l.GateURL(); url != "" {
		args = append(args, "gate", url)
	}
	log.Info("listening", args...)
}

// welcome says how to get a first token. The password goes only to a terminal: standard
// error is often a log.
func (d Dir) welcome(url, file, password string) {
	fmt.Fprintf(d.Messages, "The account %s was made; its password is in %s until the first login.\n", admin.FirstUser, file)
	if d.Terminal != nil {
		fmt.Fprintf(d.Messages, "The password is: %s\n", password)
	}
	fmt.Fprintf(d.Messages, "Get a first token with\n\n  curl -d username=%s --data-urlencode password@%s %s/api/authenticate/userpass\n\n",
		admin.FirstUser, quote(file), url)
}

// quote returns s as one word for a shell.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
