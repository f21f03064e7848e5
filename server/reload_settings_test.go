package server_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/storage/storagetest/must"
)

// TestReloadOfAllSettings: each setting is in force after a reload, as the test named here
// shows, or is one of the few that need a restart. A new setting has to be placed.
func TestReloadOfAllSettings(t *testing.T) {
	restart := []string{"key_file", "listen"}
	shown := map[string]string{ // the setting or its section, and the test
		"public_url": "TestReload", "trusted_proxies": "TestReload", "metrics.listen": "TestReload", "ldap": "TestReload", "oauth": "TestReload",
		"tokens.reveal": "TestReload", "tokens.max_per_user": "TestReload", "tokens.max_lifetime": "TestReload",
		"logins.account_failures": "TestReload", "logins.address_failures": "TestReload",
		"log.access": "TestReload", "tokens.default_lifetime": "TestReload", "limits.changes_per_user": "TestReload",
		"tls": "TestReloadWhileServing", "limits.connections": "TestReloadOfConnections", "limits.connections_per_address": "TestReloadOfConnections",
		"tokens.revoke_idle_after": "TestReloadOfIdle", "tokens.known_scopes": "TestKnownScopes", "logins.local": "TestNoOwnPassword",
		"gate": "TestGateMoves", "admin.groups": "TestRoles",
		"notify":    "TestReloadOfNotices",
		"log.level": "config.TestLogSet", "log.format": "config.TestLogSet",
		"audit": "storage.TestSetBounds",
	}
	for setting, name := range shown {
		dir, test, other := strings.Cut(name, ".")
		if !other {
			dir, test = ".", name
		}
		folder := map[string]string{".": ".", "config": "config", "storage": "../storage"}[dir]
		if !hasTest(t, folder, test) {
			t.Errorf("%s: there is no test %s", setting, name)
		}
	}
	for _, setting := range allSettings("", reflect.TypeFor[config.Config]()) {
		section, _, _ := strings.Cut(setting, ".")
		needsRestart, isShown := slices.Contains(restart, setting), shown[setting] != "" || shown[section] != ""
		if needsRestart == isShown {
			t.Errorf("%s: a restart %t, in force after a reload %t: place it here, with a test", setting, needsRestart, isShown)
		}
	}
	newer := config.Config{Listen: "x", KeyFile: "x", PublicURL: "x"}
	left := config.Changed(config.Config{}.Adopt(newer), newer)
	slices.Sort(left)
	if !slices.Equal(left, restart) {
		t.Errorf("a reload leaves %q, want %q", left, restart)
	}
}

// allSettings returns the settings of a section, and those of the sections in it.
func allSettings(path string, section reflect.Type) (list []string) {
	for i := range section.NumField() {
		name, kind := section.Field(i).Tag.Get("toml"), section.Field(i).Type
		if name == "" {
			continue
		}
		full := strings.TrimPrefix(path+"."+name, ".")
		if kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Map {
			kind = kind.Elem()
		}
		inner := []string(nil)
		if kind.Kind() == reflect.Struct {
			inner = allSettings(full, kind)
		}
		if inner == nil {
			inner = []string{full}
		}
		list = append(list, inner...)
	}
	return list
}

func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files := must.Get(filepath.Glob(folder + "/*_test.go"))(t)
	for _, file := range files {
		b := must.Get(os.ReadFile(file))(t)
		if regexp.MustCompile(`(?m)^func ` + name + `\(`).Match(b) {
			return true
		}
	}
	return false
}

// TestReloadOfConnections: the limits on connections count from the next connection on.
func TestReloadOfConnections(t *testing.T) {
	h := newHouse(t)
	host := strings.TrimPrefix(h.serve(), "http://")
	answers := func() bool {
		c := must.Get(net.Dial("tcp", host))(t)
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		return strings.HasPrefix(string(b), "HTTP/1.1 200")
	}
	busy := must.Get(net.Dial("tcp", host))(t)
	defer busy.Close()
	io.WriteString(busy, "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	busy.SetDeadline(time.Now().Add(patience))
	must.Get(busy.Read(make([]byte, 1)))(t) // the server waits for the body
	for _, limits := range []config.Limits{{Connections: 1, ConnectionsPerAddress: 1000}, {ConnectionsPerAddress: 1}} {
		cfg := h.cfg
		cfg.Limits = limits
		if !answers() {
			t.Fatal("with the limits of before, there is no answer")
		}
		if !h.Reload(cfg) || answers() {
			t.Errorf("%+v: not in force", limits)
		}
		h.Reload(h.cfg)
	}
}

// TestReloadOfIdle: tokens that nobody uses are revoked from the reload on that says so. A
// sweep that was about to begin when a reload turned it off revokes nothing.
func TestReloadOfIdle(t *testing.T) {
	h := newAged(t, 0, 0)
	on, off := h.cfg, h.cfg
	off.Tokens.RevokeIdleAfter = config.Lifetime{}
	live := func() int {
		n := 0
		for _, token := range h.tokens {
			if h.ask("GET", "/api/verify").token(token).send().code == http.StatusOK {
				n++
			}
		}
		return n
	}
	h.Reload(off)
	h.make(3)
	h.pass(2 * idleAfter)
	h.sweep()
	if n := len(h.told("token.revoke")); n != 0 {
		t.Errorf("while it is off, %d tokens were revoked", n)
	}
	h.Reload(on)
	h.sweep()
	if n := live(); n != 0 {
		t.Errorf("once it is on, %d tokens still work", n)
	}
}

// TestReloadOfNotices: a notice goes to the targets that are in force.
func TestReloadOfNotices(t *testing.T) {
	h := newHouse(t)
	h.serve()
	socket, cfg := api.Dial(listen.SocketPath(h.dir)), h.cfg
	for _, name := range []string{"first", "second"} {
		file := filepath.Join(t.TempDir(), name)
		cfg.Notify.Command = "tee " + file
		if !h.Reload(cfg) {
			t.Fatal(h.log)
		}
		done := must.Get(socket.TestNotices(t.Context(), api.NoticeTest{}))(t)
		if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"type":"test"`) {
			t.Errorf("%s: got %q, %v, and the answers %v", name, b, err, done.Answers)
		}
	}
}
