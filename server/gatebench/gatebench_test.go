package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestMain lets the test binary be the empty handler.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == emptyMode {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestGatebench is a short run on a small store. It does not check how fast the gate was,
// because a test's machine is busy.
func TestGatebench(t *testing.T) {
	storagetest.Slow(t)
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where nginx and haproxy are
	for _, c := range []struct {
		own    bool
		behind string
	}{{}, {own: true}, {behind: "nginx", own: true}, {behind: "haproxy"}, {behind: "caddy", own: true}} {
		t.Run(fmt.Sprintf("own %v behind %s", c.own, c.behind), func(t *testing.T) { testGatebench(t, c.own, c.behind) })
	}
}

func testGatebench(t *testing.T, own bool, behind string) {
	dir := t.TempDir()
	var out bytes.Buffer
	b := &bench{
		own: own, behind: behind,
		gatehouse: filepath.Join(dir, "gatehouse"), data: filepath.Join(dir, "data"),
		rounds: 1, duration: time.Second, tokens: 50, connections: 4, client: 1, steal: 1, out: &out,
	}
	if err := b.needs(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, line := range [][]string{
		{"go", "build", "-buildvcs=false", "-o", b.gatehouse, "gatehouse"},
		{b.gatehouse, "demo", "--no-serve", "--users", "5", "--tokens", "60", "--data", b.data},
	} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
	}
	other := must.Get(b.startEmpty(t.Context(), answer{Status: 204}, ""))(t)
	defer other.kill()
	must.Do(t, b.addPeer(other.url+"/auth X-Vault-Token: s.1"))
	// If nothing was measured, a handler's cost may round to nothing.
	const ratios = `( +(\d+\.\d+|\+Inf|NaN)){3}$`
	err := b.run(t.Context())
	t.Logf("%s", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if nothing := regexp.MustCompile(`(?m)^ +nothing +\d+ .* 0s +\d`); nothing.Match(out.Bytes()) != (behind != "") {
		t.Errorf("%s matches wrongly", nothing)
	}
	for _, want := range []string{
		`(?m)^50 of 60 tokens`, `(?m)^first right answer after \d`, `(?m)^live +round 1: +\d+/s of +\d+/s, \d`,
		`(?m)^ +forged` + ratios, `(?m)^ +mistyped` + ratios, `(?m)^RssAnon .* [1-9]\d* MiB$`, `(?m)^uses counted: `,
		`(?m)^live .*; ` + other.url + `/auth: \d+/s`, `(?m)^ +gatehouse +\d+ +\d`, `(?m)^ *` + other.url + `/auth +\d+ +\d`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("nothing matches %s", want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(b.scratch, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestKinds: each kind changes a token, and keeps its form.
func TestKinds(t *testing.T) {
	token := storage.Secret(hex.EncodeToString(bytes.Repeat([]byte{0xa5}, 128)))
	for _, k := range kinds {
		got := must.Get(k.lines([]storage.Secret{token, token}))(t)
		if len(got) != 2*len("X-Auth-Token: \n")+2*256 {
			t.Errorf("%s: got %d characters, want 2 headers with 256", k.name, len(got))
		}
		if same := strings.HasPrefix(got, "X-Auth-Token: "+token.Reveal()+"\n"); same != (k.status == 200) {
			t.Errorf("%s: got the token itself: %t", k.name, same)
		}
	}
}

func TestStolen(t *testing.T) {
	const stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 250 9 10\ncpu1 1 2 3 4 5 6 7 30 9 10\ncpu10 1 2 3 4 5 6 7 1 9 10\nintr 1\n"
	if got, err := stolenIn(stat, 0, 10); got != 2510*time.Millisecond || err != nil {
		t.Errorf("got %v, %v, want 2.51s", got, err)
	}
	if _, err := stolenIn(stat, 2); err == nil {
		t.Error("a core that is not there: got no error")
	}
}

func TestRatios(t *testing.T) {
	run := func(n int64, cost time.Duration) result {
		return result{requests: n, took: time.Second, p99: time.Millisecond, cost: cost}
	}
	c := contest{kind: kinds[0], pairs: []pair{
		{gate: run(90, 12), empty: run(100, 10)}, {gate: run(10, 15), empty: run(100, 10)}, {gate: run(98, 11), empty: run(100, 10)},
	}}
	if got := c.median(pair.rate); got != 0.9 {
		t.Errorf("got a median of rates %v, want 0.9", got)
	}
	if got := c.median(pair.cost); got != 1.2 {
		t.Errorf("got a median of costs %v, want 1.2", got)
	}
	must.Do(t, c.check())
	for what, r := range map[string]result{
		"a refusal": {requests: 9, refused: 1}, "a broken connection": {requests: 9, broken: 1},
	} {
		wrong := contest{kind: kinds[0], pairs: []pair{{gate: r, empty: run(1, 1)}}}
		if wrong.check() == nil {
			t.Errorf("%s: got no error", what)
		}
	}
}

// TestDisturbed: a round counts if each run was answered and nothing was stolen, and after too
// many others the measurement ends.
func TestDisturbed(t *testing.T) {
	b := &bench{rounds: 1, duration: time.Second, out: new(bytes.Buffer)}
	good := pair{gate: result{requests: 1}, empty: result{requests: 1}}
	stolen, stuck, broken := good, good, good
	stolen.stolen, stuck.empty.requests = time.Second, 0
	broken.empty = result{broken: 1} // again, it would be the same
	for what, r := range map[string]struct {
		pair
		counts bool
	}{"good": {good, true}, "stolen": {stolen, false}, "stuck": {stuck, false}, "broken": {broken, true}} {
		var c contest
		if err := b.add(&c, r.pair); err != nil || len(c.pairs) == 1 != r.counts || len(c.all()) != 1 {
			t.Errorf("%s: got %d rounds of %d, %v", what, len(c.pairs), len(c.all()), err)
		}
	}
	c := contest{disturbed: make([]pair, 10)}
	if b.add(&c, stuck) == nil {
		t.Error("11 disturbed rounds: got no error")
	}
}

// TestCompare: a lost use is an error, and so is an extra one.
func TestCompare(t *testing.T) {
	b := &bench{connections: 4, out: new(bytes.Buffer)}
	all := []contest{
		{kind: kinds[0], pairs: []pair{{gate: result{requests: 100}}}, disturbed: []pair{{gate: result{requests: 50}}}},
		{kind: kinds[1], pairs: []pair{{gate: result{requests: 1000}}}},
	}
	for _, c := range []struct {
		what           string
		uses, answered int64
		ok             bool
	}{
		{"all", 152, 152, true},
		{"with hangups", 160, 160, true},
		{"a use too few", 151, 152, false},
		{"a use too many", 153, 152, false},
		{"an answer too few", 151, 151, false},
		{"an answer too many", 161, 161, false},
	} {
		err := b.compare(c.uses, c.answered, all)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.what, err)
		}
	}
}

func TestAddPeer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	must.Do(t, os.WriteFile(file, []byte("s.2\n"), 0o600))
	b := new(bench)
	for _, c := range []struct{ text, header string }{
		{"http://127.0.0.1:8200/v1/auth/token/lookup-self X-Vault-Token: s.1", "X-Vault-Token: s.1"},
		{"http://127.0.0.1:3000/api/v1/user Authorization: token a b", "Authorization: token a b"},
		{"http://127.0.0.1/ X-Vault-Token: @" + file, "X-Vault-Token: s.2"},
		{"http://127.0.0.1/ X-Vault-Token: @" + file + ".missing", ""},
		{"http://127.0.0.1/", ""},
		{"http://127.0.0.1/ X-Vault-Token", ""},
		{"127.0.0.1:80 A: b", ""},
		{"https://127.0.0.1/ A: b", ""},
		{"", ""},
	} {
		b.asked = nil
		err := b.addPeer(c.text)
		if (err == nil) != (c.header != "") || err == nil && b.asked[0].header != c.header {
			t.Errorf("%q: got %q, %v, want %q", c.text, b.asked, err, c.header)
		}
	}
}

// TestListeners: a peer's processes are found by its port, and must run on the right core.
func TestListeners(t *testing.T) {
	b := &bench{server: 0}
	there := must.Get(b.startEmpty(t.Context(), answer{Status: 204}, ""))(t)
	defer there.kill()
	at := func(text string) ([]int, error) {
		t.Helper()
		u := must.Get(url.Parse(text))(t)
		return b.listeners(u)
	}
	if got, err := at(there.url); err != nil || len(got) != 1 || got[0] != there.cmd.Process.Pid {
		t.Errorf("got %v, %v, want %d", got, err, there.cmd.Process.Pid)
	}
	b.server = 1
	if _, err := at(there.url); err == nil || !strings.Contains(err.Error(), "taskset -acp 1 "+strconv.Itoa(there.cmd.Process.Pid)) {
		t.Errorf("on another core: got %v", err)
	}
	free := must.Get(freePort())(t)
	if _, err := at("http://" + free); err == nil {
		t.Error("nobody listens: got no error")
	}
}
