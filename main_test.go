package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/text"
)

// TestMain lets the test binary stand for gatehouse in the scripts. With -race, that also
// finds the races of the whole program.
func TestMain(m *testing.M) {
	unix.Umask(0o022) // what a store is made with must not depend on it
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestStories runs testdata/script: the whole program, as users and
// administrators meet it.
func TestStories(t *testing.T) {
	const dir = "testdata/script"
	files := []string{dir + "/first-run.txtar", dir + "/tokens.txtar", dir + "/users.txtar"}
	if !testing.Short() {
		var err error
		if files, err = filepath.Glob(dir + "/*.txtar"); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Logf("the other stories take long: with -short, only %v", files)
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("UID", strconv.Itoa(os.Geteuid()))
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Setenv("TERM", "xterm-256color")
			if os.Geteuid() == 0 { // others must reach the program and the scripts' files
				gatehouse, err := exec.LookPath("gatehouse")
				if err != nil {
					return err
				}
				bin := filepath.Dir(gatehouse)
				for _, dir := range []string{bin, filepath.Dir(bin), filepath.Dir(env.WorkDir), env.WorkDir} {
					if err := os.Chmod(dir, 0o755); err != nil {
						return err
					}
				}
			}
			env.Values["story"] = &story{skip: func(why string) { env.T().Skip(why) }}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"capture":  cmdCapture,
			"clean":    cmdClean,
			"dex":      cmdDex,
			"disk":     cmdDisk,
			"flood":    cmdFlood,
			"http":     cmdHTTP,
			"await":    cmdAwait,
			"logged":   cmdLogged,
			"modes":    cmdModes,
			"need":     cmdNeed,
			"screen":   cmdScreen,
			"signal":   cmdSignal,
			"slapd":    cmdSlapd,
			"start":    cmdStart,
			"straight": cmdStraight,
			"status":   cmdStatus,
		},
	})
}

// TestStatusesOfAllCommands: statuses.txtar tries all commands.
func TestStatusesOfAllCommands(t *testing.T) {
	b := must.Get(os.ReadFile("testdata/script/statuses.txtar"))(t)
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			look(child)
		}
		name := strings.TrimPrefix(c.CommandPath(), "gatehouse ")
		if c.HasParent() && !c.HasSubCommands() && !regexp.MustCompile(`(?m)^2 `+name+`( |$)`).Match(b) {
			t.Errorf("%s has no line with a usage error", name)
		}
	}
	look((&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).root())
}

// TestExamples: the help of each command has an example, of that command, with arguments
// and flags that it takes.
func TestExamples(t *testing.T) {
	root := (&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}).root()
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		for _, child := range c.Commands() {
			look(child)
		}
		if c.HasSubCommands() {
			return
		}
		found := false
		for line := range strings.Lines(c.Example) {
			_, args, ok := strings.Cut(strings.TrimSpace(line)+" ", "gatehouse ")
			if !ok {
				continue
			}
			args, _, _ = strings.Cut(args, "|")
			args, _, _ = strings.Cut(args, ">")
			args = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(args, "quoted")
			about, rest, err := root.Find(strings.Fields(args))
			if err != nil || about != c {
				t.Errorf("%s has an example of another command: %s", c.CommandPath(), line)
				continue
			}
			if err := about.ParseFlags(rest); err != nil {
				t.Errorf("%s: %s: %v", c.CommandPath(), line, err)
			} else if err := about.ValidateArgs(about.Flags().Args()); err != nil {
				t.Errorf("%s: %s: %v", c.CommandPath(), line, err)
			}
			found = true
		}
		if !found {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
	look(root)
}

// story is what a running script remembers.
type story struct {
	skip   func(why string)
	slapd  *ldaptest.Slapd
	dex    *oauthtest.Dex
	server *exec.Cmd
	ended  chan error // of the server
}

func storyOf(ts *testscript.TestScript) *story { return ts.Value("story").(*story) }

// program returns a command in the script's directory and environment.
func program(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	ts.Check(ts.Exec("env"))
	env := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	path, err := exec.LookPath(name)
	ts.Check(err)
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir = env, ts.MkAbs(".")
	return cmd
}

// cmdStart starts a command that serves, with standard error in the
// file log, and sets URL once it listens.
func cmdStart(ts *testscript.TestScript, _ bool, args []string) {
	st := storyOf(ts)
	if st.server != nil {
		ts.Fatalf("a server runs already")
	}
	log, err := os.OpenFile(ts.MkAbs("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	ts.Check(err)
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	ts.Check(err)
	cmd := program(ts, args[0], args[1:]...)
	out, err := os.Create(ts.MkAbs("out"))
	ts.Check(err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, log
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	st.server, st.ended = cmd, ended
	ts.Defer(func() { cmd.Process.Kill() })

	listening := regexp.MustCompile(`msg=listening url=(http\S+)`)
	await(ts, "listening", func() bool {
		select {
		case err := <-ended:
			ts.Fatalf("gatehouse ended: %v\n%s", err, ts.ReadFile("log"))
		default:
		}
		m := listening.FindStringSubmatch(ts.ReadFile("log")[before:])
		if m != nil {
			ts.Setenv("URL", m[1])
		}
		return m != nil
	})
}

// patience is how long to wait for something that must come, even on a busy machine.
// After that, it does not come.
const patience = 5 * time.Minute

func await(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("waited %v, but not seen: %s", patience, what)
		}
	}
}

// cmdSignal sends the server a signal, waits for its end and compares how it
// ended: with an exit status, or "signal: killed".
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	st := storyOf(ts)
	sig := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[0]]
	ts.Check(st.server.Process.Signal(sig))
	select {
	case err := <-st.ended:
		got := "exit status 0"
		if err != nil {
			got = err.Error()
		}
		if got != args[1] {
			ts.Fatalf("got %s, want %s\n%s", got, args[1], ts.ReadFile("log"))
		}
	case <-time.After(30 * time.Second): // as documented
		ts.Fatalf("the server does not end\n%s", ts.ReadFile("log"))
	}
	st.server = nil
}

// cmdAwait asks until the answer has the status: await STATUS PATH.
func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	var reply []byte
	await(ts, strings.Join(args, " "), func() bool {
		resp, err := http.Get(ts.Getenv("URL") + args[1])
		ts.Check(err)
		defer resp.Body.Close()
		reply, err = io.ReadAll(resp.Body)
		ts.Check(err)
		return strconv.Itoa(resp.StatusCode) == args[0]
	})
	ts.Stdout().Write(reply)
}

// reminder is in a line that says that something has lasted for minutes.
var reminder = regexp.MustCompile(` for=\d+m\d+s reports=`)

// cmdLogged waits until so many lines of the log match, and compares the number: logged
// TIMES REGEXP.
func cmdLogged(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	match := regexp.MustCompile("(?m)^.*" + args[1] + ".*$")
	var got []string
	await(ts, args[1], func() bool {
		got = match.FindAllString(ts.ReadFile("log"), -1)
		got = slices.DeleteFunc(got, reminder.MatchString)
		return len(got) >= want
	})
	if len(got) > want {
		ts.Fatalf("%d lines, want %d:\n%s", len(got), want, strings.Join(got[:min(len(got), 20)], "\n"))
	}
}

// cmdFlood sends one request over and over from four clients, and wants the same
// status each time: flood TIMES STATUS METHOD PATH [Name:value]…
func cmdFlood(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := make(chan string)
	for range 4 {
		go func() {
			for range times {
				r, err := http.NewRequest(args[2], ts.Getenv("URL")+args[3], nil)
				if err != nil {
					got <- err.Error()
					continue
				}
				for _, arg := range args[4:] {
					name, value, _ := strings.Cut(arg, ":")
					r.Header.Set(name, value)
				}
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					got <- err.Error()
					continue
				}
				resp.Body.Close()
				got <- strconv.Itoa(resp.StatusCode)
			}
		}()
	}
	wrong := ""
	for range 4 * times {
		if one := <-got; one != args[1] {
			wrong = one
		}
	}
	if wrong != "" {
		ts.Fatalf("got %s, want %s", wrong, args[1])
	}
}

// cmdDisk makes a separate file system, or breaks one: disk ext4 DIR; disk abort DIR,
// which is what the kernel does when the device is gone; disk shutdown DIR, after which
// each call fails; disk tmpfs DIR SIZE; disk fill DIR LEFT; disk free DIR. It ends the
// story if nothing can be mounted.
func cmdDisk(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[1])
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	}
	switch args[0] {
	case "ext4":
		image := dir + ".image"
		f, err := os.Create(image)
		ts.Check(err)
		ts.Check(errors.Join(f.Truncate(512<<20), f.Close(), os.Mkdir(dir, 0o700)))
		err = run("mkfs.ext4", "-q", "-F", image)
		if err == nil {
			err = run("mount", "-o", "loop", image, dir)
		}
		if err != nil && os.Getenv("CI") != "true" {
			storyOf(ts).skip(fmt.Sprintf("a file system on a loop device can't be mounted here: %v", err))
		}
		ts.Check(err)
		ts.Defer(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	case "tmpfs":
		ts.Check(os.Mkdir(dir, 0o700))
		err := run("mount", "-t", "tmpfs", "-o", "mode=700,size="+args[2], "tmpfs", dir)
		if err != nil && os.Getenv("CI") != "true" {
			storyOf(ts).skip(fmt.Sprintf("a tmpfs can't be mounted here: %v", err))
		}
		ts.Check(err)
		ts.Defer(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	case "fill":
		left, err := strconv.ParseInt(args[2], 10, 64)
		ts.Check(err)
		var st unix.Statfs_t
		ts.Check(unix.Statfs(dir, &st))
		f, err := os.Create(filepath.Join(dir, "filler"))
		ts.Check(err)
		defer f.Close()
		ts.Check(unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left))
	case "free":
		ts.Check(os.Remove(filepath.Join(dir, "filler")))
	case "abort":
		ts.Check(run("mount", "-o", "remount,abort", dir))
	case "shutdown":
		d, err := os.Open(dir)
		ts.Check(err)
		defer d.Close()
		ts.Check(unix.IoctlSetPointerInt(int(d.Fd()), 0x8004587d, 2)) // EXT4_IOC_SHUTDOWN without a flush
	default:
		ts.Fatalf("disk %s?", args[0])
	}
}

// cmdStatus runs a command and compares its exit status.
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want := args[0]; strconv.Itoa(got) != want {
		ts.Fatalf("got exit status %d, want %s", got, want)
	}
}

// cmdHTTP sends a request and compares the status: http STATUS METHOD PATH
// [Name:value | name=value | {JSON}]… A field makes a form, which is what
// curl -d sends. The reply is standard output, its header standard error.
func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	var body []string
	header := http.Header{}
	for _, arg := range args[3:] {
		name, value, isHeader := strings.Cut(arg, ":")
		switch {
		case strings.HasPrefix(arg, "{"):
			header.Set("Content-Type", "application/json")
			body = append(body, arg)
		case isHeader && !strings.Contains(name, "="):
			header.Add(name, value)
		default:
			header.Set("Content-Type", "application/x-www-form-urlencoded")
			body = append(body, arg)
		}
	}
	r, err := http.NewRequest(args[1], ts.Getenv("URL")+args[2], strings.NewReader(strings.Join(body, "&")))
	ts.Check(err)
	r.Header = header
	resp, err := http.DefaultTransport.RoundTrip(r)
	ts.Check(err)
	defer resp.Body.Close()
	resp.Header.Write(ts.Stderr())
	reply, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Stdout().Write(reply)
	if want := args[0]; strconv.Itoa(resp.StatusCode) != want {
		ts.Fatalf("got %s, want %s: %s", resp.Status, want, reply)
	}
}

// cmdCapture sets a variable to what a regular expression, or its first group,
// matches in a file: capture NAME FILE REGEXP.
func cmdCapture(ts *testscript.TestScript, _ bool, args []string) {
	re := regexp.MustCompile(args[2])
	m := re.FindStringSubmatch(ts.ReadFile(args[1]))
	if m == nil && args[1] == "log" { // a line may come after the reply that it is about
		await(ts, args[2], func() bool { m = re.FindStringSubmatch(ts.ReadFile("log")); return m != nil })
	}
	if m == nil {
		ts.Fatalf("%s has no match for %s", args[1], args[2])
	}
	ts.Setenv(args[0], m[len(m)-1])
}

// cmdModes compares the modes, and the owner, of everything in a directory: modes DIR
// UID.
func cmdModes(ts *testscript.TestScript, _ bool, args []string) {
	owner, err := strconv.ParseUint(args[1], 10, 32)
	ts.Check(err)
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			return fmt.Errorf("%s: got mode %04o, want %04o", path, got, want)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; uint64(got) != owner {
			return fmt.Errorf("%s: got owner %d, want %d", path, got, owner)
		}
		return nil
	}))
}

// cmdClean looks for secrets in all files of a directory, or in a file: clean
// PATH SECRET…
func cmdClean(ts *testscript.TestScript, neg bool, args []string) {
	looked := 0
	var found error
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked++
		for _, secret := range args[1:] {
			for form, text := range forms(secret) {
				if bytes.Contains(b, text) {
					found = fmt.Errorf("%s holds %.8s… as %s", path, secret, form)
				}
			}
		}
		return nil
	}))
	if looked == 0 {
		ts.Fatalf("no file in %s", args[0])
	}
	if neg && found == nil {
		ts.Fatalf("%s is clean", args[0])
	} else if !neg {
		ts.Check(found)
	}
}

// forms are the ways in which a secret might have been written down. For a token, a part
// of the text after its public id is enough.
func forms(secret string) map[string][]byte {
	all := map[string][]byte{"text": []byte(secret)}
	if len(secret) == 256 {
		part := secret[32:96]
		all["text"] = []byte(part)
		all["capitals"] = []byte(strings.ToUpper(part))
		secret = part
	}
	if raw, err := hex.DecodeString(secret); err == nil {
		all["bytes of the hex"] = raw
	}
	if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil && len(raw) >= 16 {
		all["bytes of the base64"] = raw
	}
	all["base64"] = []byte(base64.StdEncoding.EncodeToString([]byte(secret)))
	return all
}

// cmdNeed ends the story when a program is missing: need PROGRAM PACKAGE.
func cmdNeed(ts *testscript.TestScript, _ bool, args []string) {
	if _, err := exec.LookPath(args[0]); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		ts.Fatalf("%s is missing: install Debian's package %s", args[0], args[1])
	}
	storyOf(ts).skip(fmt.Sprintf("%s is missing: install Debian's package %s", args[0], args[1]))
}

// cmdSlapd runs a directory beside the story: slapd start N, with N more people,
// sets LDAPS and LDAP and writes ca.pem, other.pem of another authority, and
// reader with the password of the service account; slapd stop; slapd remove
// UID…; slapd modify UID ATTRIBUTE [VALUE].
func cmdSlapd(ts *testscript.TestScript, _ bool, args []string) {
	st := storyOf(ts)
	switch args[0] {
	case "start":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		st.slapd = ldaptest.Start(scriptT{ts: ts, st: st}, ldaptest.WithPeople(n))
		ts.Setenv("LDAPS", st.slapd.TLSAddr)
		ts.Setenv("LDAP", st.slapd.Addr)
		ca, err := os.ReadFile(st.slapd.CA)
		ts.Check(err)
		for name, text := range map[string]string{
			"ca.pem": string(ca), "other.pem": ldaptest.NewAuthority(scriptT{ts: ts, st: st}).PEM, "reader": ldaptest.ReaderPassword + "\n",
		} {
			ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
		}
	case "stop":
		st.slapd.Stop()
	case "remove":
		var dns []string
		for _, uid := range args[1:] {
			dns = append(dns, ldaptest.Person(uid))
		}
		st.slapd.RemoveAtOnce(dns...) // one sweep must not see a part of them, and the next the rest
	case "modify":
		st.slapd.Modify(ldaptest.Person(args[1]), args[2], args[3:]...)
	default:
		ts.Fatalf("slapd %s?", args[0])
	}
}

// cmdDex starts a provider of OpenID Connect, or sets a variable to a token
// that one of its clients gets: dex start, dex token NAME CLIENT MAIL.
func cmdDex(ts *testscript.TestScript, _ bool, args []string) {
	st := storyOf(ts)
	switch args[0] {
	case "start":
		st.dex = oauthtest.StartDex(scriptT{ts: ts, st: st}, "http://127.0.0.1:1/login/dex/callback", "")
		ts.Setenv("ISSUER", st.dex.Issuer)
	case "token":
		token, _ := st.dex.Tokens(args[2], args[3])
		ts.Setenv(args[1], token)
	default:
		ts.Fatalf("dex %s?", args[0])
	}
}

// scriptT lets a story start what a test starts. It has only the methods below. Any other
// method has no test behind it, and panics.
type scriptT struct {
	testing.TB
	ts *testscript.TestScript
	st *story
}

func (t scriptT) Helper()                        {}
func (t scriptT) Fatal(args ...any)              { t.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (t scriptT) Fatalf(format string, a ...any) { t.ts.Fatalf(format, a...) }
func (t scriptT) Skip(args ...any)               { t.st.skip(fmt.Sprint(args...)) }
func (t scriptT) Cleanup(f func())               { t.ts.Defer(f) }

func (t scriptT) TempDir() string {
	dir, err := os.MkdirTemp(t.ts.MkAbs("."), "made")
	t.ts.Check(err)
	return dir
}

// cmdScreen waits until the terminal of tmux shows a match of a regular expression.
func cmdScreen(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	var got string
	defer func() { ts.Logf("%s", got) }()
	await(ts, args[0], func() bool {
		ts.Check(ts.Exec("tmux", "-S", "tmux", "capture-pane", "-p"))
		got = ts.ReadFile("stdout")
		return want.MatchString(got)
	})
}

// cmdStraight checks that a word stands in the same column of so many lines of
// the screen, counted as a terminal counts.
func cmdStraight(ts *testscript.TestScript, _ bool, args []string) {
	lines, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(ts.Exec("tmux", "-S", "tmux", "capture-pane", "-p"))
	columns := map[int]bool{}
	for l := range strings.Lines(ts.ReadFile("stdout")) {
		if before, _, ok := strings.Cut(l, args[0]); ok {
			columns[text.Width(before)] = true
			lines--
		}
	}
	if lines != 0 || len(columns) != 1 {
		ts.Fatalf("%s stands in the columns %v\n%s", args[0], columns, ts.ReadFile("stdout"))
	}
}

// arrows is the table of our packages that each package may import. The manual draws it,
// in contributing.md.
var arrows = map[string][]string{
	"storage/journal":             {},
	"storage/journal/journaltest": {"storage/journal"},
	"storage/lasting":             {},
	"storage/storagetest":         {},
	"storage/storagetest/must":    {},
	"storage/wallclock":           {},
	"storage/disk":                {},
	"storage/keys":                {"storage/disk"},
	"storage/rekey":               {"storage/disk", "storage/keys"},
	"storage/record":              {"storage/disk", "storage/journal", "storage/keys"},
	"storage/marks":               {"storage/disk", "storage/journal", "storage/keys"},
	"storage/audit":               {"storage/disk", "storage/journal", "storage/lasting", "storage/record"},
	"storage/backup":              {"storage/disk", "storage/journal", "storage/record"},
	"storage/sealed":              {"storage/journal", "storage/keys", "storage/record"},
	"storage/table":               {"storage/disk", "storage/journal", "storage/keys", "storage/record", "storage/sealed"},
	"storage/uses":                {"storage/disk", "storage/keys", "storage/record", "storage/table"},
	"storage/index":               {"storage/disk", "storage/journal", "storage/keys", "storage/lasting", "storage/record"},
	"storage/order":               {"storage/disk", "storage/keys", "storage/record", "storage/sealed", "storage/table"},
	"storage/index/indextest":     {"storage/disk", "storage/index", "storage/journal", "storage/keys", "storage/record", "storage/storagetest/must"},
	"storage/read":                {"storage/clock", "storage/disk", "storage/index", "storage/keys", "storage/record", "storage/table"},
	"storage/checkpoint":          {"storage/backup", "storage/disk", "storage/index", "storage/journal", "storage/keys", "storage/record", "storage/table"},
	"storage/verify":              {"storage/keys", "storage/record", "storage/table"},
	"storage/surplus":             {"storage/disk", "storage/keys", "storage/record"},
	"storage/census":              {"storage/record"},
	"storage/writer":              {"storage/disk", "storage/index", "storage/journal", "storage/keys", "storage/lasting", "storage/read", "storage/record", "storage/table"},
	"storage/opening":             {"storage/checkpoint", "storage/clock", "storage/disk", "storage/grants", "storage/index", "storage/journal", "storage/keys", "storage/marks", "storage/record", "storage/rekey", "storage/restore", "storage/table", "storage/uses"},
	"storage/unlogged":            {"storage/disk", "storage/index", "storage/keys", "storage/record"},
	"storage/restore":             {"storage/backup", "storage/disk", "storage/index", "storage/journal", "storage/keys", "storage/marks", "storage/record", "storage/rekey"},
	"storage/grants":              {"storage/disk", "storage/keys", "storage/record"},
	"storage/clock":               {"storage/disk", "storage/journal", "storage/keys", "storage/lasting", "storage/record", "storage/table", "storage/wallclock"},
	"storage/notices":             {"storage/index", "storage/keys", "storage/record"},
	"storage":                     {"storage/audit", "storage/backup", "storage/census", "storage/checkpoint", "storage/clock", "storage/disk", "storage/grants", "storage/index", "storage/journal", "storage/keys", "storage/lasting", "storage/notices", "storage/opening", "storage/order", "storage/read", "storage/record", "storage/rekey", "storage/restore", "storage/sealed", "storage/surplus", "storage/table", "storage/unlogged", "storage/uses", "storage/verify", "storage/wallclock", "storage/writer"},
	"ldap":                        {},
	"ldap/ldaptest":               {"storage/storagetest", "storage/storagetest/must"},
	"storage/torture":             {"storage", "storage/storagetest", "storage/wallclock"},
	"server/api":                  {},
	"server/textfile":             {},
	"server/oauth":                {"server/textfile"},
	"server/oauth/oauthtest":      {"storage/storagetest", "storage/storagetest/must"},
	"server/web":                  {"server/legible", "server/manual"},
	"server/config":               {"ldap", "server/notify/target", "server/notify/wording", "server/oauth", "server/textfile", "storage/record"},
	"server/notify":               {"server/api", "server/config", "server/notify/target", "server/notify/wording", "storage", "storage/lasting", "storage/notices", "storage/record"},
	"server/notify/target":        {},
	"server/notify/smtptest":      {"storage/storagetest/must"},
	"server/notify/wording":       {"server/textfile"},
	"server/demo":                 {"storage", "storage/disk"},
	"server/manual":               {},
	"server/gatebench":            {"server/listen", "server/manual", "storage"},
	"server/gate":                 {"server/nowait"},
	"server/nowait":               {},
	"server/ipaddr":               {},
	"server/admin":                {"ldap", "server/api", "server/body", "server/config", "server/directory", "server/guard", "server/listen", "server/notify", "server/oauth", "server/query", "server/recheck", "server/reply", "server/route", "server/tokens", "server/view", "storage", "storage/audit", "storage/disk", "storage/record"},
	"server/login":                {"server/access", "server/api", "server/body", "server/config", "server/directory", "server/guard", "server/ipaddr", "server/logout", "server/oauth", "server/recheck", "server/reply", "server/route", "server/tokens", "server/view", "server/web", "storage", "storage/record"},
	"server/site":                 {"server/api", "server/body", "server/config", "server/guard", "server/login", "server/manual", "server/reply", "server/route", "server/tokens", "server/view", "server/web", "storage", "storage/record"},
	"server/tokens":               {"server/api", "server/body", "server/config", "server/guard", "server/ipaddr", "server/listen", "server/reply", "server/route", "server/view", "storage", "storage/record"},
	"server/listen":               {"server/config", "server/gate", "server/ipaddr", "server/nowait", "storage/lasting"},
	"server/guard":                {"server/config", "server/ipaddr", "server/reply", "storage", "storage/record", "storage/unlogged"},
	"server/directory":            {"ldap", "server/api", "server/config", "server/guard", "server/reply", "storage", "storage/lasting", "storage/record"},
	"server/recheck":              {"ldap", "server/config", "server/directory", "server/oauth", "storage", "storage/grants", "storage/lasting"},
	"server/logout":               {"ldap", "server/body", "server/config", "server/directory", "server/guard", "server/oauth", "server/reply", "server/route", "storage", "storage/lasting", "storage/record"},
	"server/scim":                 {"ldap", "server/body", "server/config", "server/directory", "server/guard", "server/reply", "server/route", "storage", "storage/lasting", "storage/order", "storage/record"},
	"server/access":               {"server/ipaddr"},
	"server/metrics":              {"server/api", "server/directory", "server/listen", "server/notify", "server/oauth", "server/recheck", "server/reply", "server/route", "storage", "storage/census"},
	"server/datadir":              {"server", "server/admin", "server/api", "server/config", "server/demo", "server/directory", "server/listen", "server/recheck", "server/textfile", "storage", "storage/backup", "storage/disk", "storage/keys", "storage/restore"},
	"server":                      {"ldap", "server/access", "server/admin", "server/api", "server/body", "server/config", "server/directory", "server/gate", "server/guard", "server/ipaddr", "server/listen", "server/login", "server/logout", "server/metrics", "server/notify", "server/oauth", "server/recheck", "server/reply", "server/route", "server/scim", "server/site", "server/tokens", "server/view", "server/web", "storage", "storage/lasting"},
	"server/view":                 {"server/api", "server/query", "storage"},
	"server/query":                {"server/api", "storage", "storage/record"},
	"server/route":                {"server/api", "server/ipaddr", "server/reply", "storage"},
	"server/body":                 {"server/reply", "server/textfile"},
	"server/reply":                {"ldap", "server/api", "server/oauth", "storage"},
	"tui/text":                    {"server/legible"},
	"server/legible":              {},
	"tui/darkbackground":          {},
	"tui/cli":                     {"server/api", "server/manual", "server/textfile", "tui/export", "tui/revocation", "tui/text"},
	"tui/export":                  {"server/api", "tui/text"},
	"tui/listing":                 {"server/api", "tui/text"},
	"tui/trail":                   {"server/api", "tui/listing"},
	"tui":                         {"server/api", "tui/box", "tui/darkbackground", "tui/export", "tui/health", "tui/listing", "tui/plain", "tui/revocation", "tui/say", "tui/text", "tui/trail"},
	"tui/health":                  {"server/api", "tui/say", "tui/text"},
	"tui/revocation":              {"server/api", "tui/listing", "tui/say", "tui/text"},
	"tui/box":                     {"server/api", "tui/export", "tui/listing", "tui/plain", "tui/revocation", "tui/say", "tui/text"},
	"tui/say":                     {"server/api", "tui/listing", "tui/text"},
	"tui/plain":                   {},
	"":                            {"server/api", "server/config", "server/datadir", "storage/backup", "tui", "tui/cli", "tui/text"},
}

func TestArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-buildvcs=false", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Stderr = os.Stderr
	out := must.Get(cmd.Output())(t)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := ours(p.ImportPath)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("%s is in no row of the table", p.ImportPath)
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, "gatehouse/") && !slices.Contains(allowed, ours(imported)) {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
		for _, to := range allowed {
			if !slices.Contains(p.Imports, "gatehouse/"+to) {
				t.Errorf("%s does not import %s any more: the table says that it may", p.ImportPath, to)
			}
		}
		if name != "tui" && !strings.HasPrefix(name, "tui/") {
			continue
		}
		for _, dep := range p.Deps { // also by way of others
			if strings.HasPrefix(dep, "gatehouse/storage") || strings.HasPrefix(dep, "github.com/dgraph-io/badger") {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// TestTop pins the files of the program's first package: what a command does belongs
// into a package below.
func TestTop(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if want := []string{"main.go", "main_test.go"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("got %q, %v, want %q", files, err, want)
	}
}

// ours is the name of a package in the table.
func ours(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "gatehouse"), "/")
}

// TestBinary looks at what `go build .` makes.
func TestBinary(t *testing.T) {
	storagetest.Slow(t)
	file := filepath.Join(t.TempDir(), "gatehouse")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("size", func(t *testing.T) {
		info := must.Get(os.Stat(file))(t)
		if most := int64(40 << 20); info.Size() >= most {
			t.Errorf("got %d bytes, want less than %d", info.Size(), most)
		}
	})
	t.Run("mute terminal", func(t *testing.T) { testMute(t, file) })
}

// testMute runs commands on a terminal that never answers, and on a pipe. The terminal
// must get the same text, without an escape sequence, and just as soon: a program that
// waits for a terminal's answer waits for five seconds.
func testMute(t *testing.T, file string) {
	const most = 2500 * time.Millisecond
	data := filepath.Join(t.TempDir(), "data")
	if out, err := exec.Command(file, "demo", "--no-serve", "--data", data).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		"", "version", "--help", "nonsense", "config check", "completion bash",
		"user list", "user show ada.allen@example.com", "token list --json", "token create --user ada.allen@example.com",
	} {
		t.Run(line, func(t *testing.T) {
			args := append(strings.Fields(line), "--data", data)
			piped, pipeTime := fastest(t, patience, func() ([]byte, error) { return command(file, args).CombinedOutput() })
			shown, ttyTime := fastest(t, pipeTime+most, func() ([]byte, error) { return onTerminal(command(file, args), "") })
			shown = bytes.ReplaceAll(shown, []byte("\r\n"), []byte("\n"))
			if !bytes.Equal(mask(shown), mask(piped)) {
				t.Errorf("the terminal got %q, the pipe %q", shown, piped)
			}
			if bytes.ContainsRune(shown, '\x1b') {
				t.Errorf("the terminal got an escape sequence: %q", shown)
			}
			if ttyTime > pipeTime+most {
				t.Errorf("%v on a terminal, %v on a pipe", ttyTime, pipeTime)
			}
		})
	}
	t.Run("serve", func(t *testing.T) {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--data", data}
		shown, took := fastest(t, 2*most, func() ([]byte, error) { return onTerminal(command(file, args), "msg=listening") })
		if bytes.ContainsRune(shown, '\x1b') {
			t.Errorf("the terminal got an escape sequence: %q", shown)
		}
		if took > 2*most {
			t.Errorf("it took %v", took)
		}
	})
}

func command(file string, args []string) *exec.Cmd {
	cmd := exec.Command(file, args...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=", "GATEHOUSE_DATA=")
	return cmd
}

// fastest runs three times, because other tests keep the machine busy, and more often
// while that is not fast enough: a program that waits for an answer does so each time.
func fastest(t *testing.T, enough time.Duration, run func() ([]byte, error)) (out []byte, took time.Duration) {
	t.Helper()
	for n := 0; n < 3 || n < 30 && took > enough; n++ {
		start := time.Now()
		b, err := run()
		if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.Exited()) {
			t.Fatalf("%v\n%s", err, b)
		}
		if d := time.Since(start); n == 0 || d < took {
			took = d
		}
		out = b
	}
	return out, took
}

// onTerminal runs a command on a terminal until it ends or, if there is a text to wait
// for, until it has written that. Then it stops the command.
func onTerminal(cmd *exec.Cmd, until string) (out []byte, err error) {
	terminal, err := pty.Start(cmd)
	if err != nil {
		return nil, err
	}
	defer terminal.Close()
	for b := make([]byte, 4096); err == nil; {
		var n int
		n, err = terminal.Read(b) // EIO when the command is gone
		out = append(out, b[:n]...)
		if until != "" && bytes.Contains(out, []byte(until)) {
			cmd.Process.Signal(syscall.SIGTERM)
			until = ""
		}
	}
	return out, cmd.Wait()
}

// mask hides what differs from run to run.
func mask(out []byte) []byte {
	return regexp.MustCompile(`\b[0-9a-f]{28,}\b`).ReplaceAll(out, []byte("HEX"))
}

// BenchmarkFirstScreen is the time from the start of `gatehouse admin` to the
// first rows on the terminal.
func BenchmarkFirstScreen(b *testing.B) {
	dir := b.TempDir()
	file, data := filepath.Join(dir, "gatehouse"), filepath.Join(dir, "data")
	for _, args := range [][]string{{"go", "build", "-buildvcs=false", "-o", file, "."}, {file, "demo", "--users", "5000", "--tokens", "20000", "--no-serve", "--data", data}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	serve := exec.Command(file, "serve", "--listen", "127.0.0.1:0", "--data", data)
	must.Do(b, serve.Start())
	defer serve.Wait()
	defer serve.Process.Signal(syscall.SIGTERM)
	for exec.Command(file, "user", "show", "nobody@example.com", "--data", data).Run() != nil {
		if _, err := os.Stat(filepath.Join(data, "run", "admin.sock")); err == nil {
			break
		}
	}
	for b.Loop() {
		admin := exec.Command(file, "admin", "--data", data)
		terminal := must.Get(pty.StartWithSize(admin, &pty.Winsize{Rows: 60, Cols: 200}))(b)
		var shown []byte
		for part := make([]byte, 64<<10); !bytes.Contains(shown, []byte("@example.com")); {
			n, err := terminal.Read(part)
			if err != nil {
				b.Fatalf("%v\n%s", err, shown)
			}
			shown = append(shown, part[:n]...)
		}
		b.StopTimer()
		go io.Copy(io.Discard, terminal)
		terminal.WriteString("q")
		must.Do(b, admin.Wait())
		terminal.Close()
		b.StartTimer()
	}
}
