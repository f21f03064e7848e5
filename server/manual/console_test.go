package manual_test

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// Blocks of these kinds are not run: they need a machine of their own (apt, systemctl,
// another server's directory), or are settings of another program. If the other program
// can be installed, a test beside the code runs it with the block as it is. TestNames
// checks the names of commands and flags in them.
var notRun = []string{"sh", "ini", "nginx", "caddyfile", "haproxy", "lua", "yaml", "text", "json"}

// TestConsole runs each console block, and compares what the commands print with what the
// block shows. The blocks of a chapter are one session. It goes on from the end of
// the chapter start, so that a server runs, and has a user and a token.
func TestConsole(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	first, _ := manual.Chapter("start")
	for file, text := range chapters(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			var run []block
			for _, b := range blocks(file, text) {
				if b.info == "console" {
					run = append(run, b)
				} else if b.info != "toml" && !slices.Contains(notRun, b.info) {
					t.Errorf("%s:%d: nobody knows what to do with a block of the kind %q", b.file, b.line, b.info)
				}
			}
			if len(run) == 0 {
				return
			}
			s := newSession(t)
			if file != "start.md" && file != "README.md" {
				for _, b := range blocks("start.md", first) {
					if b.info == "console" {
						s.run(b)
					}
				}
			}
			switch file {
			case "ldap.md":
				s.directory()
			case "notices.md":
				s.notices()
			case "oauth.md":
				s.provider()
			}
			for _, b := range run {
				s.run(b)
			}
		})
	}
}

// session is a shell in a home of its own.
type session struct {
	*testing.T
	dir   string
	shell *exec.Cmd
	in    *os.File
	marks *bufio.Reader
	real  map[string]string // by what the manual shows
	token string            // the last that was printed
}

func newSession(t *testing.T) *session {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("install the Debian package curl")
		}
		t.Skip("install the Debian package curl")
	}
	s := &session{T: t, dir: t.TempDir()}
	s.real = map[string]string{}
	for _, shown := range []string{"/home/me", "/srv/backup", "/var/lib/gatehouse", "/etc/gatehouse"} {
		s.real[shown] = s.dir + shown
		must.Do(t, os.MkdirAll(s.dir+shown, 0o700))
	}
	// As on a terminal, where curl shows no progress beside a reply.
	must.Do(t, os.WriteFile(s.dir+"/home/me/.curlrc", []byte("silent\nshow-error\n"), 0o600))
	s.shell = exec.Command("bash", "--norc")
	s.shell.Dir = s.dir + "/home/me"
	s.shell.Env = []string{
		"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + s.dir + "/home/me", "LANG=C.UTF-8",
		"GATEHOUSE_LISTEN=127.0.0.1:0", // the manual shows the usual port, which may be taken
	}
	var log bytes.Buffer
	s.shell.Stdout, s.shell.Stderr = &log, &log
	in, write := must.Get2(os.Pipe())(t)
	read, marks := must.Get2(os.Pipe())(t)
	s.shell.Stdin, s.shell.ExtraFiles = in, []*os.File{marks}
	must.Do(t, s.shell.Start())
	in.Close()
	marks.Close()
	s.in, s.marks = write, bufio.NewReader(read)
	s.tell("trap 'kill $(jobs -p); wait' EXIT") // the server must have left the directory before the test removes it
	t.Cleanup(func() {
		write.Close()
		s.shell.Wait()
		read.Close()
	})
	return s
}

// directory starts a directory, and configures it.
func (s *session) directory() {
	s.Helper()
	d := ldaptest.Start(s.T)
	password := s.dir + "/etc/gatehouse/ldap-password"
	settings := fmt.Sprintf("[ldap]\nurls = [\"ldaps://%s\"]\nca_file = %q\nbind_dn = \"cn=reader,dc=example,dc=org\"\nbind_password_file = %q\nbase_dn = \"ou=people,dc=example,dc=org\"\n", d.TLSAddr, d.CA, password)
	for name, text := range map[string]string{password: ldaptest.ReaderPassword, s.dir + "/home/me/.local/state/gatehouse/config.toml": settings} {
		must.Do(s, os.WriteFile(name, []byte(text), 0o600))
	}
	s.real["ldap.example.com:636"] = d.TLSAddr
	s.real["CN=ldap.example.com"] = "CN=127.0.0.1"
}

// provider configures a provider, which is never asked, and has the server read that.
func (s *session) provider() {
	s.Helper()
	secret := s.dir + "/etc/gatehouse/okta-secret"
	settings := fmt.Sprintf("public_url = \"https://tokens.example.com\"\n[oauth.okta]\ntype = \"oidc\"\nurl = \"https://example.okta.com\"\nclient_id = \"0oa1\"\nclient_secret_file = %q\n", secret)
	for name, text := range map[string]string{secret: "secret", s.dir + "/home/me/.local/state/gatehouse/config.toml": settings} {
		must.Do(s, os.WriteFile(name, []byte(text), 0o600))
	}
	s.tell("kill -HUP $(jobs -p)")
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(s.dir + "/server")
		if strings.Contains(string(b), "the configuration was reloaded") {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("the configuration is not read:\n%s", b)
		}
	}
}

// notices configures a command that is told, and has the server read that.
func (s *session) notices() {
	s.Helper()
	told := s.dir + "/etc/gatehouse/told"
	for name, text := range map[string]string{
		told: "#!/bin/sh\ncat >/dev/null\necho taken\n", s.dir + "/home/me/.local/state/gatehouse/config.toml": fmt.Sprintf("[notify]\ncommand = %q\n", told),
	} {
		must.Do(s, os.WriteFile(name, []byte(text), 0o700))
	}
	s.tell("kill -HUP $(jobs -p); until gatehouse notify test >/dev/null 2>&1; do sleep .1; done")
}

// run runs the commands of a block, which follow "$ ".
func (s *session) run(b block) {
	s.Helper()
	var command string
	var shown []string
	flush := func() {
		if command != "" {
			s.do(b, command, shown)
		}
	}
	for line := range strings.Lines(b.text) {
		line = strings.TrimSuffix(line, "\n")
		if next, ok := strings.CutPrefix(line, "$ "); ok {
			flush()
			command, shown = next, nil
		} else {
			shown = append(shown, line)
		}
	}
	flush()
}

// do runs one command, and compares what it prints.
func (s *session) do(b block, command string, shown []string) {
	s.Helper()
	serves := regexp.MustCompile(`^(go run \.|gatehouse) (serve|demo\b.*)$`).MatchString(command) && !strings.Contains(command, "--no-serve")
	real := strings.Replace(command, "go run . ", "gatehouse ", 1)
	real = strings.Replace(real, "./gatehouse ", "gatehouse ", 1)
	for _, from := range slices.Sorted(maps.Keys(s.real)) {
		real = strings.ReplaceAll(real, from, s.real[from])
	}
	if pasted := regexp.MustCompile(`^TOKEN=[0-9a-f]+…$`); pasted.MatchString(real) {
		real = "TOKEN=" + s.token // as people paste it
	}
	var got string
	if serves {
		out := s.dir + "/server"
		s.tell(real + " >" + out + " 2>&1 </dev/null &")
		address := regexp.MustCompile(`msg=listening url=http://(\S+)`)
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			b, _ := os.ReadFile(out)
			if m := address.FindSubmatch(b); m != nil {
				s.real["127.0.0.1:8080"] = string(m[1])
				got = string(b)
				break
			}
			if time.Now().After(end) {
				s.Fatalf("the server does not listen:\n%s", b)
			}
		}
		shown = append(append([]string{"…"}, shown...), "…") // among the lines of the log
	} else {
		out := s.dir + "/out"
		s.tell("{ " + real + "\n} >" + out + " 2>&1 </dev/null")
		b := must.Get(os.ReadFile(out))(s)
		got = string(b)
	}
	if tokens := regexp.MustCompile(`\b[0-9a-f]{256}\b`).FindAllString(got, -1); tokens != nil {
		s.token = tokens[len(tokens)-1]
	}
	for shown, real := range s.real {
		got = strings.ReplaceAll(got, real, shown)
	}
	if want := pattern(shown); !want.MatchString(mask(got)) {
		s.Errorf("%s:%d: %s\nprinted\n%s\nbut the manual shows\n%s\n%s", b.file, b.line, command, got, strings.Join(shown, "\n"), want)
	}
}

// tell makes the shell run a line, and waits for its end.
func (s *session) tell(line string) {
	s.Helper()
	must.Get(fmt.Fprintf(s.in, "%s\necho >&3\n", line))(s)
	if _, err := s.marks.ReadString('\n'); err != nil {
		s.Fatalf("the shell ended at %s: %v", line, err)
	}
}

// What differs from run to run. The manual shows it as it was in one run.
var varies = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b[0-9]{8}T[0-9]{6}Z\b`), "STAMP"},
	{regexp.MustCompile(`\b20[0-9-]{8}T[0-9:.]{8,12}(?:Z|\+00:00)`), "TIME"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{5,8}\b`), "MINUTE"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b`), "DAY"},
	{regexp.MustCompile(`\b1[0-9]{12}\b`), "MS"},
	{regexp.MustCompile(`\b[0-9a-f]{8,}\b`), "HEX"},
	{regexp.MustCompile(`[0-9.]+(?:µs|ms)\b`), "SPAN"},
	{regexp.MustCompile(`[ \t]+`), " "}, // columns are as wide as what is in them
}

func mask(s string) string {
	for _, v := range varies {
		s = v.what.ReplaceAllString(s, v.as)
	}
	return strings.TrimSpace(s)
}

// pattern returns what the printed text must match. … stands for any text in a line, and
// alone in a line for any lines.
func pattern(shown []string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	lines := strings.Split(mask(strings.Join(shown, "\n")), "\n")
	for i, line := range lines {
		switch last := i == len(lines)-1; {
		case strings.TrimSpace(line) == "…" && last:
			b.WriteString(`(?s:.*)`)
		case strings.TrimSpace(line) == "…":
			b.WriteString(`(?:.*\n)*?`)
		default:
			b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.*`))
			if !last {
				b.WriteString(`\s*\n\s*`)
			}
		}
	}
	b.WriteString(`\s*\z`)
	return regexp.MustCompile(b.String())
}

// TestConfiguration has the program read each block with settings, as a file of its own.
// The files that the settings name are there.
func TestConfiguration(t *testing.T) {
	certificate, key := ldaptest.NewAuthority(t).Issue(t, "tokens.example.com")
	for file, text := range chapters(t) {
		for _, b := range blocks(file, text) {
			if b.info != "toml" {
				continue
			}
			t.Run(fmt.Sprintf("%s:%d", b.file, b.line), func(t *testing.T) {
				dir := t.TempDir()
				settings := regexp.MustCompile(`"(/[^"]*)"`).ReplaceAllStringFunc(b.text, func(quoted string) string {
					path := dir + strings.Trim(quoted, `"`)
					what := "secret\n"
					if strings.HasSuffix(path, "/notices") {
						must.Do(t, os.MkdirAll(path, 0o700))
						return `"` + path + `"`
					}
					switch filepath.Ext(path) {
					case ".pem", ".crt":
						what = certificate
					case ".key":
						what = key
					}
					must.Do(t, os.MkdirAll(filepath.Dir(path), 0o700))
					must.Do(t, os.WriteFile(path, []byte(what), 0o700))
					return `"` + path + `"`
				})
				// The groups that the manual names are not on this host.
				settings = strings.NewReplacer("gatehouse-admin", "adm", "helpdesk", "users", "audit =", "daemon =").Replace(settings)
				must.Do(t, os.WriteFile(dir+"/config.toml", []byte(settings), 0o600))
				check := exec.Command(filepath.Join(bin, "gatehouse"), "config", "check", "--data", dir)
				if out, err := check.CombinedOutput(); err != nil {
					t.Errorf("%v: %s\n%s", err, out, settings)
				}
			})
		}
	}
}
