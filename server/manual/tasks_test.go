package manual_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/exp/golden"
	"github.com/creack/pty"

	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// tasks are the twenty tasks of the chapter terminal, by their names there. The chapter
// says what to press. Here is what the screen shows after each of these steps, as a regular
// expression (empty: it does not matter), and what to type for the same with --plain.
var tasks = []struct {
	name  string
	see   []string
	plain []string
}{
	{"Which tokens has nobody used for 90 days?", []string{`\[90d\](.*\n)+.* \d+ tokens · rows 1-`}, []string{"review 90d"}},
	{"Which end within 7 days?", []string{`\[90d\]`, `\[180d\]`, `\[1y\]`, `\[never\]`, `\[ends 7d\](.*\n)+.* nora@corp\.example +deploy `}, []string{"review ends 7d"}},
	{"Which service accounts does nobody own?", []string{"", "", "", "", `\[orphaned\](.*\n)+.*> +lost@service `}, []string{"review orphaned"}},
	{"All tokens of a person", []string{"", `1 user matches`, "", `Users > nora@corp\.example(.*\n)+.* deploy `}, []string{"users nora", "show 1"}},
	{"All about the token that was used last", []string{`\d+ tokens · rows`, `(?m)^ > .* nora@corp\.example`, `Token [0-9a-f]{28}(.*\n)+.*user +nora@corp\.example(.*\n)+.*USED FROM`}, []string{"tokens", "reverse", "show 1", "back", "reverse"}},
	{"Whose token is it?", []string{"", "", "1 token matches", "", `Users > batch@service(.*\n)+.*owned by  nora@corp\.example`}, []string{"tokens name:eastern", "user 1"}},
	{"Tokens used from a network since yesterday", []string{"", "", "3 tokens match", ""}, []string{"tokens from:10.99.0.0/16 used-after:24h"}},
	{"Revoke one token", []string{"", "", "1 token matches", "", `y revoke 1 token `, `Revoked 1 token\.`}, []string{"tokens name:spare", "revoke 1", "y"}},
	{"Revoke three tokens", []string{`\d+ tokens · rows`, "", "", `3 marked`, `y revoke 3 tokens `, `Revoked 3 tokens\.`}, []string{"tokens never-used", "mark 1-3", "revoke", "y"}},
	{"Revoke what a user has not used for a year", []string{"", "", `\d+ tokens match`, "", `all \d+ tokens marked`, `Type \d+, then enter`, "", `Revoked \d+ tokens\.`}, []string{"tokens user:ada.allen@example.com idle:1y", "revoke all", "#"}},
	{"Revoke all tokens of the batch account used from a network since yesterday", []string{"", "", "2 tokens match", "", `all 2 tokens marked`, `Type 2, then enter`, "", `Revoked 2 tokens\.`}, []string{"tokens user:batch@service from:10.99.0.0/16 used-after:24h", "revoke all", "#"}},
	{"Lock a person out", []string{"", "1 user matches", "", `Lock nora@corp\.example\?`, `Locked nora@corp\.example\.`}, []string{"users nora", "lock 1", "y"}},
	{"Let the person in again", []string{"", "1 user matches", "", `Unlock nora@corp\.example\?`, `Unlocked nora@corp\.example\.`}, []string{"users nora", "unlock 1", "y"}},
	{"A new local user", []string{`New local user`, "", "", `The new password of eve@corp\.example:`}, []string{"new eve@corp.example Eve"}},
	{"A new service account", []string{"", `New service account`, "", "", "", "", "", `Added nightly\.`}, []string{"new service nightly nora@corp.example"}},
	{"A new password for somebody", []string{"", "1 user matches", "", `Make a new password for nora@corp\.example\?`, `The new password of nora@corp\.example:`}, []string{"users nora", "password 1", "y"}},
	{"Who is locked out of logging in?", []string{"", "", "", `\[locked\](.*\n)+.*> +paul@corp\.example `}, []string{"review locked"}},
	{"Who revoked the tokens of a person?", []string{"", "", "", `2 events match`}, []string{"events action:token.revoke about:ada.allen@example.com"}},
	{"The tokens of a filter as a spreadsheet", []string{"", "", `tokens match`, "", `Export \d+ tokens that match idle:90d`, `Wrote \d+ tokens to `}, []string{"tokens idle:90d", "export idle.csv"}},
	{"Is all well?", []string{`Not all is well: look at last backup and orphaned\.`}, []string{"status"}},
}

// step is a key that is pressed, or text that is typed.
type step struct {
	what string
	text bool
}

// rows reads the table of the chapter: what to press for each task, and how many keys the
// chapter counts.
func rows(t *testing.T) (steps map[string][]step, keys map[string]int) {
	chapter, _ := manual.Chapter("terminal")
	_, chapter, _ = strings.Cut(chapter, "\n## Twenty tasks\n")
	steps, keys = map[string][]step{}, map[string]int{}
	part := regexp.MustCompile("`([^`]+)`|\\*([^*]+)\\*")
	for _, m := range regexp.MustCompile(`(?m)^\| (.+?) \| (.+) \| (\d) \|$`).FindAllStringSubmatch(chapter, -1) {
		n := must.Get(strconv.Atoi(m[3]))(t)
		keys[m[1]] = n
		for _, p := range part.FindAllStringSubmatch(m[2], -1) {
			steps[m[1]] = append(steps[m[1]], step{p[1] + p[2], p[2] != ""})
		}
	}
	return steps, keys
}

// house starts a server with made-up people, a few of whom the tasks are about.
func house(t *testing.T) *session {
	s := newSession(t)
	s.do(block{}, "gatehouse demo --users 40 --tokens 300 --data data --no-serve", []string{"…"})
	s.tell("export GATEHOUSE_DATA=$PWD/data")
	s.tell(`printf 'trusted_proxies = ["127.0.0.1/32"]\n' >data/config.toml`)
	s.do(block{}, "gatehouse serve", []string{"…"})
	s.tell("for u in nora omar paul; do echo secret | gatehouse user add $u@corp.example --password-stdin; done")
	s.tell("gatehouse service add batch --owner nora@corp.example; gatehouse service add lost --owner omar@corp.example; gatehouse user remove omar@corp.example --yes")
	verify := ` http://` + s.real["127.0.0.1:8080"] + `/api/verify`
	used := func(uid, name, from, flags string) {
		s.tell(`curl -o /dev/null -H "X-Auth-Token: $(gatehouse token create --user ` + uid + ` --name ` + name + flags + `)" -H "X-Forwarded-For: ` + from + `"` + verify)
	}
	used("batch@service", "eastern", "10.99.1.1", "")
	used("batch@service", "western", "10.99.2.2", "")
	used("batch@service", "northern", "10.98.3.3", "")
	s.tell("gatehouse token create --user nora@corp.example --name spare")
	used("nora@corp.example", "deploy", "10.99.4.4", " --expires 3d")
	// The delay after bad passwords doubles, and ends: somebody goes on trying.
	s.tell("while sleep .2; do curl -o /dev/null -d username=paul@corp.example -d password=wrong http://" + s.real["127.0.0.1:8080"] + "/api/login; done >/dev/null 2>&1 &")
	return s
}

// lockedOut waits until paul is locked out for some seconds more.
func (s *session) lockedOut(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		cmd := exec.Command(filepath.Join(bin, "gatehouse"), "user", "show", "paul@corp.example", "--json")
		cmd.Env = append(s.shell.Env, "GATEHOUSE_DATA="+s.shell.Dir+"/data")
		out := must.Get(cmd.Output())(t)
		var u struct{ LoginDelay struct{ Until int64 } }
		must.Do(t, json.Unmarshal(out, &u))
		if time.Until(time.UnixMilli(u.LoginDelay.Until)) > 3*time.Second {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("paul is not locked out:\n%s", out)
		}
	}
}

// until waits until there is a match.
func until(t *testing.T, what string, look func() string) {
	t.Helper()
	re := regexp.MustCompile(what)
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		shown := look()
		if re.MatchString(shown) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not in\n%s", what, shown)
		}
	}
}

// read is how long somebody takes to read a question. An answer within 150 ms counts as
// pasted.
const read = 200 * time.Millisecond

// TestTasks does each task with the keys that the chapter names, in the real program on a
// real terminal, and counts them.
func TestTasks(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("install the Debian package tmux")
		}
		t.Skip("install the Debian package tmux")
	}
	press, counted := rows(t)
	if len(press) != len(tasks) || len(tasks) != 20 {
		t.Errorf("the chapter has %d tasks, and the test %d", len(press), len(tasks))
	}
	s := house(t)
	named := map[string]string{"enter": "Enter", "tab": "Tab", "shift+tab": "BTab", "space": "Space", "→": "Right"}
	for nth, task := range tasks {
		t.Run(task.name, func(t *testing.T) {
			tmux := func(t *testing.T, args ...string) string {
				t.Helper()
				socket := fmt.Sprintf("%s/tmux%d", s.dir, nth) // a server that ends must not take the next task along
				out, err := exec.Command("tmux", append([]string{"-S", socket, "-f", "/dev/null"}, args...)...).CombinedOutput()
				if err != nil {
					t.Fatalf("tmux %q: %v\n%s", args, err, out)
				}
				return string(out)
			}
			steps, keys := press[task.name], 0
			if len(steps) != len(task.see) {
				t.Fatalf("the chapter has the steps %v, and the test looks at %d", steps, len(task.see))
			}
			tmux(t, "new-session", "-d", "-x", "132", "-y", "36", "-c", s.shell.Dir, "exec env GATEHOUSE_DATA="+s.shell.Dir+"/data LANG=C.UTF-8 "+bin+"/gatehouse admin")
			defer tmux(t, "kill-server")
			look := func() string { return tmux(t, "capture-pane", "-p") }
			if strings.Contains(task.name, "locked out") {
				s.lockedOut(t)
			}
			until(t, `\d+ users · rows 1-`, look)
			for n, st := range steps {
				if st.what == "y" || st.what == "the number" {
					time.Sleep(read)
				}
				switch {
				case st.what == "the number":
					number := regexp.MustCompile(`Type (\d+), then enter`).FindStringSubmatch(look())
					tmux(t, "send-keys", "-l", number[1])
				case st.text:
					tmux(t, "send-keys", "-l", st.what)
				default:
					keys++
					key := st.what
					if named[key] != "" {
						key = named[key]
					}
					tmux(t, "send-keys", key)
				}
				if task.see[n] != "" {
					until(t, task.see[n], look)
				}
			}
			if mib := peak(t, strings.TrimSpace(tmux(t, "display", "-p", "#{pane_pid}"))) >> 20; mib >= 64 {
				t.Errorf("it took %d MiB", mib)
			}
			if keys != counted[task.name] || keys > 6 {
				t.Errorf("it takes %d keys, and the chapter says %d", keys, counted[task.name])
			}
		})
	}
}

// peak returns the most memory that a process has had, in bytes.
func peak(t *testing.T, pid string) int {
	t.Helper()
	b := must.Get(os.ReadFile("/proc/" + pid + "/status"))(t)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in\n%s", b)
	}
	kib := must.Get(strconv.Atoi(string(m[1])))(t)
	return kib << 10
}

// TestTasksPlain does the same without a screen, in one conversation. Its transcript is
// what a screen reader reads aloud; -update writes it again.
func TestTasksPlain(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	s := house(t)
	cmd := exec.Command(filepath.Join(bin, "gatehouse"), "admin", "--plain")
	cmd.Dir = s.shell.Dir
	cmd.Env = append(s.shell.Env, "GATEHOUSE_DATA="+s.shell.Dir+"/data")
	terminal := must.Get(pty.StartWithSize(cmd, &pty.Winsize{Rows: 50, Cols: 200}))(t)
	defer terminal.Close()
	came := make(chan []byte)
	go func() {
		defer close(came)
		for {
			b := make([]byte, 4096)
			n, err := terminal.Read(b)
			if err != nil {
				return
			}
			came <- b[:n]
		}
	}()
	var all bytes.Buffer
	prompt := regexp.MustCompile(`(?m)^(\w+)> \z`)
	listen := func() (says, asks string) {
		t.Helper()
		from := all.Len()
		for {
			if m := prompt.FindSubmatch(all.Bytes()[from:]); m != nil {
				return string(all.Bytes()[from:]), string(m[1])
			}
			select {
			case b, ok := <-came:
				if !ok {
					t.Fatalf("it ended:\n%s", all.String())
				}
				all.Write(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
			case <-time.After(time.Minute):
				t.Fatalf("it does not ask:\n%s", all.String())
			}
		}
	}
	says, _ := listen()
	for _, task := range tasks {
		fmt.Fprintf(&all, "\n\n=== %s\n", task.name)
		if strings.Contains(task.name, "locked out") {
			s.lockedOut(t)
		}
		for _, line := range task.plain {
			if line == "y" || line == "#" {
				time.Sleep(read)
			}
			if line == "#" {
				line = regexp.MustCompile(`Type (\d+), then enter`).FindStringSubmatch(says)[1]
			}
			fmt.Fprintln(terminal, line)
			says, _ = listen()
		}
	}
	fmt.Fprintln(terminal, "quit")
	must.Do(t, cmd.Wait())
	golden.RequireEqual(t, []byte(normal(all.String())))
}

// normal writes what differs from run to run in the same words.
func normal(transcript string) string {
	ids := map[string]string{}
	transcript = regexp.MustCompile(`\b01[0-9a-f]{8}(?:[0-9a-f]{18})?\b`).ReplaceAllStringFunc(transcript, func(id string) string {
		if ids[id[:10]] == "" {
			ids[id[:10]] = fmt.Sprintf("id-%d", len(ids)+1)
		}
		return ids[id[:10]]
	})
	for _, v := range []struct{ what, as string }{
		{`\b20\d\d-\d\d-\d\d( \d\d:\d\d:\d\d UTC)?`, "DATE"},
		{`\b\d\d:\d\d:\d\d\b`, "TIME"},
		{`\b\d+ (s|min|h|days|years) ago|just now`, "AGO"},
		{`in \d+d \d+h`, "in SPAN"},
		{`[\d.]+ [KMGT]?i?B\b`, "SIZE"},
		{`(?m)^(requests|refused|revoked)  \S+  .*$`, "$1  SCALE  RATE"},
		{`/\S*/idle\.csv`, "/home/me/idle.csv"},
		{`(?m)^[A-Z2-7]{20,}$`, "PASSWORD"},
		{`(?m)^revoked \d+ of \d+\n`, ""}, // only if it takes a second
		{`(?m)\bby \w+$`, "by ROOT"},
		{`curl/[\d.]+`, "curl"},
		{`ok  verification  .*`, "ok  verification  SPAN"},
		{`\bas \w+, admin`, "as ROOT, admin"},
		{`(\d+\. (?:TIME|DATE), )\w+, `, "${1}ROOT, "},
	} {
		transcript = regexp.MustCompile(v.what).ReplaceAllString(transcript, v.as)
	}
	return transcript
}
