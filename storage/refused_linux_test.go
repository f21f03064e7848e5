package storage

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openDir names the variable by which a test runs this binary again, to open a store,
// wait until all of it is there, and close it.
const openDir = "GATEHOUSE_TEST_OPEN"

func openMain(dir string) int {
	s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, "open:", err)
		return 1
	}
	select {
	case <-s.compared:
	case <-s.unloadable:
	}
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		return 2
	}
	return 0
}

// refusing runs openMain by a command that has the system refuse something.
func refusing(dir string, command ...string) (exit int, said string) {
	cmd := exec.Command(command[0], append(command[1:], os.Args[0])...)
	cmd.Env = append(os.Environ(), openDir+"="+dir)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// systemStores makes stores after a stop and after a kill, with all kinds of files.
func systemStores(t *testing.T) (dirs map[string]string, tokens []Made) {
	t.Helper()
	made, killed := t.TempDir(), t.TempDir()
	c := startChild(t, made)
	var owner UserID
	if err := c.call("AddUser", "alice@example.com", &owner); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		var m Made
		if err := c.call("Create", Ask{Owner: owner, Name: fmt.Sprint(i)}, &m); err != nil {
			t.Fatal(err)
		}
		var live bool
		if err := c.call("Use", m.Secret, &live); err != nil || !live {
			t.Fatal(live, err)
		}
		tokens = append(tokens, m)
	}
	if err := c.call("Checkpoint", None{}, new(None)); err != nil {
		t.Fatal(err)
	}
	copyAll(t, made, filepath.Join(killed, "data"))
	c.stop()
	return map[string]string{"stop": made, "kill": filepath.Join(killed, "data")}, tokens
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestFewFilesWhileOpening opens a store with every limit of open files that is too low,
// up to the one that will do.
func TestFewFilesWhileOpening(t *testing.T) {
	dirs, _ := systemStores(t)
	for after, dir := range dirs {
		for limit := 6; ; limit++ {
			exit, said := refusing(dir, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0"`, limit))
			if exit == 0 {
				break
			}
			if limit > 200 {
				t.Fatalf("%s: it needs more than %d files:\n%s", after, limit, said)
			}
			for _, bad := range []string{ErrDamaged.Error(), "restore", "panic:", "built again"} {
				if strings.Contains(said, bad) {
					t.Errorf("%s, %d files: it says %q:\n%s", after, limit, bad, said)
				}
			}
		}
	}
}
