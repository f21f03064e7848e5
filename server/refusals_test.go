package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// refusedLines returns what the log says of refused logins, without the times.
func (h *house) refusedLines() (list []string) {
	for line := range strings.Lines(h.log.String()) {
		if _, rest, ok := strings.Cut(line, `level=INFO msg="login refused" `); ok {
			list = append(list, strings.TrimSuffix(rest, "\n"))
		}
	}
	return list
}

// TestRefusedLines: each refused login has a line of its own, with its address and the
// typed name. A login that succeeds has none.
func TestRefusedLines(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Logins.AccountFailures = 2 })
	long := strings.Repeat("a", 90) + "@example.com"
	for _, c := range []struct {
		name, password, from string
		status               int
		want                 string // empty: no line
	}{
		{alice, password, "192.0.2.1:1", http.StatusOK, ""},
		{"ALICE@example.com", "wrong", "192.0.2.1:1", http.StatusUnauthorized, "address=192.0.2.1 method=userpass name=ALICE@example.com"},
		{"nobody@example.com", "wrong", "[2001:db8::1]:1", http.StatusUnauthorized, "address=2001:db8::1 method=userpass name=nobody@example.com"},
		{"nobody@example.com", "wrong", "[::ffff:192.0.2.9]:1", http.StatusUnauthorized, "address=192.0.2.9 method=userpass name=nobody@example.com"},
		{"nobody@example.com", "wrong", "192.0.2.9:1", http.StatusTooManyRequests, "address=192.0.2.9 method=userpass name=nobody@example.com"},
		{"my-password", "x", "192.0.2.2:1", http.StatusUnauthorized, `address=192.0.2.2 method=userpass name=""`},
		{"x\nmsg=\"login refused\" address=192.0.2.250 method=", "x", "192.0.2.2:1", http.StatusUnauthorized, `address=192.0.2.2 method=userpass name=""`},
		{`"address=192.0.2.250"@example.com`, "x", "192.0.2.2:1", http.StatusUnauthorized, `address=192.0.2.2 method=userpass name="\"address=192.0.2.250\"@example.com"`},
		{long, "x", "192.0.2.3:1", http.StatusUnauthorized, "address=192.0.2.3 method=userpass name=" + strings.Repeat("a", 64) + "…"},
	} {
		before := len(h.refusedLines())
		h.ask("POST", userpassPath).from(c.from).json(toJSON(map[string]string{"username": c.name, "password": c.password})).send().want(c.status)
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if got := h.refusedLines()[before:]; !slices.Equal(got, want) {
			t.Errorf("%.30q from %s: got %q, want %q", c.name, c.from, got, want)
		}
	}
	h.ask("POST", "/api/login").form("username=bob@example.com&password=x").send().want(http.StatusUnauthorized)
	h.ask("POST", "/login").form("username=carol@example.com&password=x").send()
	for _, name := range []string{"bob@example.com", "carol@example.com"} {
		if !strings.Contains(strings.Join(h.refusedLines(), "\n"), "name="+name) {
			t.Errorf("no line for %s", name)
		}
	}
}

// TestRefusedFlood: a flood does not fill the log. Refusals without a line are counted,
// and an address that comes later still gets its lines.
func TestRefusedFlood(t *testing.T) {
	const mostLines = 20 // of an address in a minute
	h := newHouse(t, func(c *config.Config) { c.Logins.AddressFailures = 1000 })
	try := func(from string, n int) {
		for i := range n {
			h.ask("POST", userpassPath).from(from + ":1").json(fmt.Sprintf(`{"username":"u%d@example.com","password":"x"}`, i)).send().want(http.StatusUnauthorized)
		}
	}
	try("192.0.2.1", mostLines+15)
	try("192.0.2.2", 3)
	if got := len(h.refusedLines()); got != mostLines+3 {
		t.Errorf("got %d lines, want %d", got, mostLines+3)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	h.Refusals().Run(over) // writes what was counted, and ends
	if !strings.Contains(h.log.String(), `msg="more logins were refused than are logged" logins=15`) {
		t.Error("the others are not counted")
	}
	try("192.0.2.1", 1)
	if got := len(h.refusedLines()); got != mostLines+4 {
		t.Errorf("a minute later: got %d lines, want %d", got, mostLines+4)
	}
}

// TestFail2ban has fail2ban read the log with the filter that the manual shows: it finds
// each refused login's address, and no other.
func TestFail2ban(t *testing.T) {
	filter := filepath.Join("..", "testdata", "fail2ban", "gatehouse.conf")
	if !strings.Contains(readFile(t, filepath.Join("manual", "operate.md")), "\n"+readFile(t, filter)+"```\n") {
		t.Error("the manual does not show testdata/fail2ban/gatehouse.conf as it is")
	}
	program, err := exec.LookPath("fail2ban-regex")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("fail2ban-regex is missing: install Debian's package fail2ban")
	} else if err != nil {
		t.Skip("fail2ban-regex is missing: install Debian's package fail2ban")
	}
	h := newHouse(t)
	h.userpass(alice, password).want(http.StatusOK)
	h.ask("POST", userpassPath).from("192.0.2.7:1").json(`{"username":"nobody@example.com","password":"x"}`).send().want(http.StatusUnauthorized)
	h.ask("POST", userpassPath).from("[2001:db8::7]:1").json(`{"username":"nobody@example.com","password":"x"}`).send().want(http.StatusUnauthorized)
	h.ask("POST", userpassPath).from("192.0.2.8:1").json(toJSON(map[string]string{"username": `"msg=\"login refused\" address=192.0.2.250 method=x"@example.com`, "password": "x"})).send().want(http.StatusUnauthorized)
	log := filepath.Join(t.TempDir(), "log")
	// The house's clock is far in the past by now, which does not matter here.
	text := regexp.MustCompile(`time=\S+`).ReplaceAllString(h.log.String(), "time="+time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	must.Do(t, os.WriteFile(log, []byte(text), 0o600))
	absolute := must.Get(filepath.Abs(filter))(t)
	out, err := exec.Command(program, "--out", "ip", log, absolute).CombinedOutput()
	if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, []string{"192.0.2.7", "2001:db8::7", "192.0.2.8"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
