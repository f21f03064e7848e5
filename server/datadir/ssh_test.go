package datadir

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// TestAuditorBySSH follows the manual's recipe for an auditor who comes by ssh: an account
// in the auditors' group, and keys that run one command each. The real sshd runs as that
// account. The account exists in a mount namespace alone.
func TestAuditorBySSH(t *testing.T) {
	if testing.Short() {
		t.Skip("many logins by ssh take long: not with -short")
	}
	for _, program := range []string{"/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/ssh-keygen", "/usr/bin/setpriv"} {
		if _, err := os.Stat(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make an account")
	}
	dir := must.Get(os.MkdirTemp("", "ssh"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must.Do(t, os.Chmod(dir, 0o755))
	data := filepath.Join(dir, "data")
	file := program(t)
	mustRun(t, exec.Command("install", "-m", "755", file, filepath.Join(dir, "gatehouse")))
	write(t, filepath.Join(dir, "config.toml"), "[admin]\ngroups = { games = \"auditor\" }\n", 0o600)
	cmd := exec.Command(file, "serve", "--listen", "127.0.0.1:0", "--data", data, "--config", filepath.Join(dir, "config.toml"))
	r, log := startPiped(t, cmd)
	go drain(log)
	defer r.stop()
	port := sshd(t, dir, data)

	as := func(key string, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ssh := exec.CommandContext(ctx, "ssh", append([]string{"-F", "none", "-i", filepath.Join(dir, key), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-p", port, "carol@127.0.0.1"}, args...)...)
		out, err := ssh.CombinedOutput()
		return string(out), err
	}
	// The key's own command runs, no matter what is asked for.
	for _, asked := range [][]string{nil, {"id"}, {"gatehouse", "user", "remove", "me@localhost", "--yes"}} {
		if out, err := as("collector", asked...); err != nil || !strings.Contains(out, `"action":"user.add"`) || strings.Contains(out, "uid=") {
			t.Errorf("ssh %q with the collector's key: got %v, %s", asked, err, out)
		}
	}
	if out, err := as("auditor", "-W", "127.0.0.1:"+r.url[strings.LastIndexByte(r.url, ':')+1:]); err == nil || !strings.Contains(out, "forwarding failed") {
		t.Errorf("forwarding is not refused: %v, %s", err, out)
	}
	if out, err := as("collector", "-tt"); err == nil && strings.Contains(out, "\x1b[") {
		t.Errorf("the collector's key gets a terminal: %q", out)
	}
	screen(t, dir, port)
	// Even a shell of hers changes nothing: the server knows the role.
	out, err := as("shell", "gatehouse user disable me@localhost --data "+data)
	if want := "This needs the role operator: "; err == nil || !strings.Contains(out, want) || !strings.Contains(out, "has the role auditor, which reads everything and changes nothing") {
		t.Errorf("got %v, %s, want %q", err, out, want)
	}
	if out, err := as("shell", "gatehouse whoami --data "+data); err != nil || !strings.Contains(out, "has the role auditor, which reads everything") {
		t.Errorf("got %v, %s", err, out)
	}
}

// screen opens the terminal with the auditor's key, as a person does, until it shows the
// role.
func screen(t *testing.T, dir, port string) {
	t.Helper()
	command := fmt.Sprintf("ssh -tt -F none -i %s/auditor -o IdentitiesOnly=yes -o IdentityAgent=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -p %s carol@127.0.0.1 id", dir, port)
	script := exec.Command("script", "--quiet", "--return", "--command", "stty cols 120 rows 40; "+command, "/dev/null")
	script.Env = append(os.Environ(), "TERM=xterm")
	keys := must.Get(script.StdinPipe())(t)
	out := must.Get(script.StdoutPipe())(t)
	must.Do(t, script.Start())
	timer := time.AfterFunc(patience, func() { script.Process.Kill() })
	defer timer.Stop()
	var seen bytes.Buffer
	b := make([]byte, 4096)
	for !regexp.MustCompile(`as \S.*, auditor`).Match(seen.Bytes()) {
		n, err := out.Read(b)
		seen.Write(b[:n])
		if err != nil {
			t.Fatalf("the screen does not show the role: %v, %q", err, seen.String())
		}
	}
	keys.Write([]byte("q"))
	go drain(out)
	script.Wait()
}

// sshd runs the real one, as carol, and returns its port. The keys are those of the
// manual's lines, and one without a command.
func sshd(t *testing.T, dir, data string) (port string) {
	t.Helper()
	chapter, _ := manual.Chapter("configuration")
	lines := regexp.MustCompile(`(?m)^(restrict.*) ssh-ed25519 AAAA… (\w+)@example\.com$`).FindAllStringSubmatch(chapter, -1)
	if len(lines) != 2 || lines[0][2] != "carol" || lines[1][2] != "collector" {
		t.Fatalf("got %q in the manual", lines)
	}
	var authorized strings.Builder
	for name, line := range map[string]string{"auditor": lines[0][1], "collector": lines[1][1], "shell": ""} {
		mustRun(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)))
		public := must.Get(os.ReadFile(filepath.Join(dir, name+".pub")))(t)
		fmt.Fprintf(&authorized, "%s %s", strings.ReplaceAll(line, "/var/lib/gatehouse", data), public)
	}
	mustRun(t, exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "host")))
	mustRun(t, exec.Command("chown", "54321:54321", filepath.Join(dir, "host")))
	write(t, filepath.Join(dir, "authorized_keys"), authorized.String(), 0o644)
	for _, account := range []struct{ file, line string }{{"passwd", "carol:x:54321:54321::" + dir + ":/bin/sh\n"}, {"group", "carol:x:54321:\n"}} {
		b := must.Get(os.ReadFile("/etc/" + account.file))(t)
		write(t, filepath.Join(dir, account.file), string(b)+account.line, 0o644)
	}
	for range 10 { // somebody may take the port before sshd does
		if port, ok := listenSSH(t, dir); ok {
			return port
		}
	}
	t.Fatal("sshd finds no free port")
	return ""
}

// listenSSH starts sshd on a port that is free just now.
func listenSSH(t *testing.T, dir string) (port string, ok bool) {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t) // sshd has to be told a port
	port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s/host\nPidFile none\nUsePAM no\nStrictModes no\n"+
		"AuthorizedKeysFile %s/authorized_keys\nPasswordAuthentication no\nSetEnv PATH=%s:/usr/bin:/bin\n", port, dir, dir, dir), 0o644)
	cmd := exec.Command("sh", "-c", `mount --bind passwd /etc/passwd && mount --bind group /etc/group &&
		mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx &&
		exec setpriv --reuid 54321 --regid 54321 --groups "$(getent group games | cut -d: -f3)" /usr/sbin/sshd -D -e -f sshd_config`)
	cmd.Dir = dir
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	out := must.Get(cmd.StderrPipe())(t)
	must.Do(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var seen strings.Builder
	b := make([]byte, 4096)
	for !strings.Contains(seen.String(), "Server listening") {
		n, err := out.Read(b)
		seen.Write(b[:n])
		if err != nil && strings.Contains(seen.String(), "Address already in use") {
			return "", false
		}
		if err != nil {
			t.Fatalf("sshd does not start: %v, %s", err, seen.String())
		}
	}
	go drain(out)
	return port, true
}

func mustRun(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	must.Do(t, os.WriteFile(file, []byte(text), mode))
}
