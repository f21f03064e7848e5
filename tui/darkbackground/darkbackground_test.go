package darkbackground_test

import (
	"io"
	"os"
	"os/exec"
	"testing"

	_ "github.com/charmbracelet/bubbletea"
	"github.com/creack/pty"

	"gatehouse/storage/storagetest/must"
	_ "gatehouse/tui/darkbackground"
)

// TestMain lets the test binary stand for any program that imports Bubble Tea:
// as the child it has nothing to do but to be initialised.
func TestMain(m *testing.M) {
	if os.Getenv("GATEHOUSE_TEST_MUTE") != "" {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestMuteTerminal(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GATEHOUSE_TEST_MUTE=1", "TERM=xterm-256color")
	terminal := must.Get(pty.Start(cmd))(t) // it never answers what the child asks
	defer terminal.Close()
	out, _ := io.ReadAll(terminal) // ends with EIO when the child is gone
	must.Do(t, cmd.Wait())
	if len(out) > 0 {
		t.Errorf("the terminal was sent %q, and somebody waited for the answer", out)
	}
}
