package datadir

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestOddFiles replaces each file that a setting or an argument names by something that
// is not a readable, regular file. At once there is an error that names the file and says
// what it is.
func TestOddFiles(t *testing.T) {
	storagetest.Slow(t)
	file := program(t)
	const ldap = "[ldap]\nurls=[\"ldaps://l.example\"]\nbase_dn=\"dc=x\"\n"
	const oauth = "[oauth.github]\ntype=\"github\"\nclient_id=\"x\"\n"
	cert, key := ldaptest.NewAuthority(t).Issue(t, "localhost")
	type place struct {
		config   string   // where %s is the file; empty: the file is the configuration
		env      string   // a variable that names the directory of the file; empty: none
		commands []string // where %s is the file
		new      bool     // a missing file is made, or not needed
		waits    bool     // the command waits for a pipe, and says so
	}
	places := map[string]place{
		"key_file":                        {config: "key_file=%q", commands: []string{"serve", "config check", "user add x@example.com"}, new: true},
		"the credential":                  {env: "CREDENTIALS_DIRECTORY=", new: true},
		"tls.cert":                        {config: "[tls]\nkey=\"key.pem\"\ncert=%q"},
		"tls.key":                         {config: "[tls]\ncert=\"cert.pem\"\nkey=%q"},
		"ldap.ca_file":                    {config: ldap + "ca_file=%q"},
		"ldap.bind_password_file":         {config: ldap + "bind_dn=\"cn=x\"\nbind_password_file=%q"},
		"oauth.github.client_secret_file": {config: oauth + "client_secret_file=%q"},
		"--config":                        {commands: []string{"serve", "config check", "user add x@example.com", "restore backup"}},
		"restore":                         {config: "#%q", commands: []string{"restore %s"}, waits: true},
	}
	kinds := []struct {
		name string
		make func(file string) error
		want string
	}{
		{"a pipe", func(f string) error { return syscall.Mkfifo(f, 0o600) }, "FILE is not a regular file but a pipe"},
		{"a directory", func(f string) error { return os.Mkdir(f, 0o700) }, "FILE is not a regular file but a directory"},
		{"a device", func(f string) error { return os.Symlink("/dev/zero", f) }, "FILE is not a regular file but a device"},
		{"a socket", func(f string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f})
			if err == nil {
				l.SetUnlinkOnClose(false)
				l.Close()
			}
			return err
		}, "FILE is not a regular file but a socket"},
		{"nothing", func(string) error { return nil }, "FILE: no such file"},
		{"a link to nothing", func(f string) error { return os.Symlink("nothing", f) }, "FILE is a symbolic link to nothing"},
		{"closed to us", func(f string) error { return os.WriteFile(f, []byte("x"), 0) }, "FILE: permission denied"},
	}
	for name, p := range places {
		for _, kind := range kinds {
			if kind.name == "nothing" && p.new || kind.name == "a pipe" && p.waits {
				continue
			}
			for _, command := range orDefault(p.commands, "serve", "config check") {
				t.Run(fmt.Sprintf("%s/%s/%s", name, kind.name, command), func(t *testing.T) {
					dir := t.TempDir()
					odd := filepath.Join(dir, "gatehouse-key")
					must.Do(t, kind.make(odd))
					conf := filepath.Join(dir, "config.toml")
					if p.config == "" && p.env == "" {
						conf = odd
					}
					for name, text := range map[string]string{"config.toml": strings.ReplaceAll(p.config, "%q", fmt.Sprintf("%q", odd)), "cert.pem": cert, "key.pem": key, "backup": "x"} {
						must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
					}
					args := append(strings.Fields(strings.ReplaceAll(command, "%s", odd)), "--data", filepath.Join(dir, "data"), "--config", conf)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					cmd := exec.CommandContext(ctx, file, args...)
					cmd.Dir, cmd.Env = dir, append(os.Environ(), "GATEHOUSE_LISTEN=127.0.0.1:0", "GATEHOUSE_CONFIG=", "GATEHOUSE_DATA=", "CREDENTIALS_DIRECTORY=")
					if p.env != "" {
						cmd.Env = append(cmd.Env, p.env+dir)
					}
					asNobody(t, cmd, file, dir)
					out, err := cmd.CombinedOutput()
					status := 1
					if strings.HasSuffix(kind.want, "permission denied") {
						status = 4
					}
					want := strings.ReplaceAll(kind.want, "FILE", odd)
					if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != status || !strings.Contains(string(out), want) {
						t.Errorf("got %v, want exit status %d and %q\n%s", err, status, want, out)
					}
				})
			}
		}
	}
}

func orDefault(list []string, usual ...string) []string {
	if len(list) > 0 {
		return list
	}
	return usual
}

// asNobody runs a command without root's rights, which open every file.
func asNobody(t *testing.T, cmd *exec.Cmd, file, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	giveAway(t, file, dir)
	entries := must.Get(os.ReadDir(dir))(t)
	for _, e := range entries {
		must.Do(t, os.Lchown(filepath.Join(dir, e.Name()), 65534, 65534))
	}
}
