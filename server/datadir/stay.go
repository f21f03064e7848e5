package datadir

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"gatehouse/server"
	"gatehouse/server/config"
	"gatehouse/storage/disk"
)

// hangups keeps two signals from ending this process. It returns SIGHUP on a channel. It
// catches SIGPIPE, so a write to a standard output or error that nobody reads gives an
// ordinary error. An end by either signal would count as clean, and systemd's
// Restart=on-failure would not start the server again.
func hangups() (<-chan os.Signal, func()) {
	pipe, hup := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // not Ignore, which programs started from here would inherit
	signal.Notify(hup, syscall.SIGHUP)
	return hup, func() {
		signal.Stop(hup)
		signal.Stop(pipe)
	}
}

// prepare does what both serve and demo begin with. It checks the directory, calls become,
// which makes this process the directory's owner or demands that it is, reads the
// configuration, and makes the log. The caller must call end.
func (d *Dir) prepare(become func(dir string) error) (cfg config.Config, log *slog.Logger, end func() error, err error) {
	if err := disk.CheckPrivate(d.Path); err != nil { // before its config.toml is read
		return cfg, nil, nil, err
	}
	if err := become(d.Path); err != nil {
		return cfg, nil, nil, err
	}
	if cfg, _, err = d.whole(); err != nil {
		return cfg, nil, nil, err
	}
	log, end = serveLog(d, cfg.Log)
	keepMemory(log)
	return cfg, log, end, nil
}

// serveLog returns the server's log. The log, and the other messages of d, never wait for
// their reader.
func serveLog(d *Dir, cfg config.Log) (log *slog.Logger, end func() error) {
	lines := NewLines(d.Messages)
	d.Messages = lines
	log, d.logs = cfg.Logger(lines)
	lines.Lost = func(n int) { log.Warn("log lines were lost, because their reader was too slow or gone", "lines", n) }
	return log, lines.Close
}

// reload reads the configuration again at each hangup, until the context ends.
func (d Dir) reload(ctx context.Context, hup <-chan os.Signal, s *server.Server, log *slog.Logger) {
	for {
		select {
		case <-hup:
		case <-ctx.Done():
			return
		}
		notifyReloading()
		d.readAgain(s, log)
		daemon.SdNotify(false, daemon.SdNotifyReady)
	}
}

// readAgain reads the configuration again, and takes it if nothing in it is wrong.
func (d Dir) readAgain(s *server.Server, log *slog.Logger) {
	cfg, _, err := d.whole()
	if err != nil {
		log.Error("the configuration was rejected; the previous one stays in force", "error", err)
		return
	}
	if s.Reload(cfg) {
		d.logs.Set(cfg.Log)
	}
}

// keepMemory keeps what is in this process's memory, keys among it, out of core files
// and from other processes of the account: a debugger can't attach, and the kernel
// writes no core, not even to a program that collects them (prctl(2), core(5)).
func keepMemory(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("the memory of this process can be dumped", "error", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warn("the memory of this process can be dumped", "error", err)
	}
}
