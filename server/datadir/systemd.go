package datadir

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"gatehouse/storage"
)

// What systemd is told of a server, if it runs it (sd_notify(3)). Without systemd, none
// of this does anything.

// notifyReloading says that the configuration is being read again. The time is for
// Type=notify-reload, and older versions of systemd ignore it.
func notifyReloading() {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return
	}
	daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// watchdog tells systemd that the store answers, if the unit has a WatchdogSec, until the
// context ends. When the store does not answer for as long, systemd ends the process with
// SIGABRT, which has Go print what each goroutine does, and starts it again.
func watchdog(ctx context.Context, answers func(), log *slog.Logger) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog can't be answered, so systemd may restart the server", "error", err)
	}
	if within == 0 {
		return
	}
	tick := time.NewTicker(within / 4) // a busy machine may delay one
	defer tick.Stop()
	for {
		answered := make(chan struct{})
		go func() {
			answers()
			close(answered)
		}()
		select {
		case <-answered:
			daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// answersOf returns a function that returns when the store answers: when no lock that a
// verification or a change takes is held for good. It does not ask the disk. While that
// hangs, tokens are verified from memory, and a server started again could not even do
// that.
func answersOf(s *storage.Store) func() {
	return func() {
		s.TokenCount()
		s.UserCount()
		s.Audit().Last()
	}
}
