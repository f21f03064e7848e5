package tui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/exp/teatest"
	"github.com/creack/pty"
	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/box"
	"gatehouse/tui/cli"
)

// enough is how long to wait for something that must come, even on a busy machine. After
// that, it does not come.
const enough = 5 * time.Minute

// TestProgram runs the model in a real program.
func TestProgram(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	var past atomic.Int64 // since noon
	m := newModel(t.Context(), f, Options{Now: func() time.Time { return noon.Add(time.Duration(past.Load())) }}, d.st)
	tm := teatest.NewTestModel(t, m, teatest.WithInitialTermSize(100, 30))
	until := func(s string) {
		t.Helper()
		teatest.WaitFor(t, tm.Output(), func(b []byte) bool { return bytes.Contains(b, []byte(s)) }, teatest.WithDuration(enough))
	}
	until("alistair@example.com")
	tm.Type("j")
	tm.Send(tea.KeyMsg{Type: tea.KeyEnter})
	until("laptop")
	tm.Type("R")
	until("y revoke 1 token")
	past.Add(int64(box.Glance))
	tm.Type("y")
	until("Revoked 1 token.")
	tm.Type("q")
	tm.WaitFinished(t, teatest.WithFinalTimeout(enough))
	if len(f.changes) != 1 {
		t.Errorf("changed %q", f.changes)
	}
}

// TestRun runs everything on a terminal, and leaves the terminal as it was.
func TestRun(t *testing.T) {
	terminal, tty := must.Get2(pty.Open())(t)
	defer terminal.Close()
	defer tty.Close()
	pty.Setsize(terminal, &pty.Winsize{Rows: 24, Cols: 80})
	var shown bytes.Buffer
	ready := make(chan struct{})
	go func() {
		b := make([]byte, 4096)
		for open := true; ; {
			n, err := terminal.Read(b)
			if err != nil {
				return
			}
			if shown.Write(b[:n]); open && bytes.Contains(shown.Bytes(), []byte("bob@example.com")) {
				open = false
				close(ready)
			}
		}
	}()
	c := api.InProcess(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/admin/users":
			json.NewEncoder(w).Encode(map[string]any{"row": api.User{UID: "bob@example.com"}})
		case "/admin/status":
			json.NewEncoder(w).Encode(api.Status{})
		}
	}), func() error { return nil })
	done := make(chan error)
	go func() { done <- Run(t.Context(), c, Options{Offline: true, In: tty, Out: tty}) }()
	select {
	case <-ready:
	case <-time.After(enough):
		t.Fatal("no user is shown")
	}
	io.WriteString(terminal, "q")
	if err := <-done; err != nil {
		t.Errorf("Run returns %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	terminal, tty := must.Get2(pty.Open())(t)
	defer terminal.Close()
	defer tty.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- Run(ctx, api.Dial("/nowhere"), Options{In: tty, Out: tty}) }()
	untilShown(t, terminal)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returns %v", err)
	}
}

// untilShown returns when the UI has drawn something, and drops what the UI draws later.
// Before that, Bubble Tea may ask for the size of a terminal even after the end of Run.
func untilShown(t *testing.T, terminal io.Reader) {
	t.Helper()
	for shown, b := "", make([]byte, 4096); !strings.Contains(shown, "gatehouse admin"); {
		n := must.Get(terminal.Read(b))(t)
		shown += string(b[:n])
	}
	go io.Copy(io.Discard, terminal)
}

// TestRunEndsWithASignal is about two listeners to one signal: which of them comes first
// is chance.
func TestRunEndsWithASignal(t *testing.T) {
	for range 10 {
		terminal, tty := must.Get2(pty.Open())(t)
		ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
		done := make(chan error)
		go func() { done <- Run(ctx, api.Dial("/nowhere"), Options{In: tty, Out: tty}) }()
		untilShown(t, terminal)
		must.Do(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		if err := <-done; err != nil {
			t.Errorf("Run returns %v", err)
		}
		stop()
		tty.Close()
		terminal.Close()
	}
}

func TestRunNeedsATerminal(t *testing.T) {
	null := must.Get(os.Open(os.DevNull))(t)
	defer null.Close()
	if err := Run(t.Context(), api.Dial("/nowhere"), Options{In: null, Out: null}); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("Run returns %v", err)
	}
}

// TestEveryActionHasACommand looks the twins up among the real commands.
func TestEveryActionHasACommand(t *testing.T) {
	root := &cobra.Command{Use: "gatehouse"}
	root.AddCommand(cli.Commands(cli.Env{})...)
	for _, b := range bindings() {
		if b.changes && b.twin == "" {
			t.Errorf("%s (%s) has no command", b.show, b.help)
		}
		for _, twin := range []string{b.twin, b.undo} {
			if twin == "" {
				continue
			}
			words := strings.Fields(twin)
			c, rest, err := root.Find(words[1:])
			if err != nil || c.HasSubCommands() {
				t.Errorf("%s: there is no command %q", b.show, twin)
				continue
			}
			if err := c.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", b.show, twin, err)
			}
		}
	}
}

func TestNoKeyMeansTwoThings(t *testing.T) {
	for _, p := range []place{onUsers, onTokens, onReview, onAccounts, onNetworks, onUser, onToken, onEvents, onStatus} {
		seen := map[string]string{}
		for _, b := range bindings() {
			for _, k := range b.keys {
				if b.on&p == 0 {
					continue
				}
				if other, ok := seen[k]; ok {
					t.Errorf("%s: both %q and %q", k, other, b.help)
				}
				seen[k] = b.help
			}
		}
	}
}
