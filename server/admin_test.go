package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// wantStatus checks that a call was refused with a status, in a sentence.
func wantStatus(t testing.TB, what string, err error, status int) {
	t.Helper()
	refusal := (*api.Error)(nil)
	if !errors.As(err, &refusal) || refusal.Status != status || refusal.Message == "" {
		t.Errorf("%s: got %v, want a refusal with status %d", what, err, status)
	}
}

// collect reads a whole listing.
func collect[T any](t testing.TB, rows func(func(T, error) bool)) (list []T) {
	t.Helper()
	for row := range must.All(rows)(t) {
		list = append(list, row)
	}
	return list
}

// failure returns the error that ends a listing.
func failure[T any](rows func(func(T, error) bool)) (err error) {
	for _, e := range rows {
		err = e
	}
	return err
}

func uids(list []api.User) (out []string) {
	for _, u := range list {
		out = append(out, u.UID)
	}
	return out
}

// bothWays runs a story in the process, and again over the socket.
func bothWays(t *testing.T, story func(*house)) {
	t.Run("in process", func(t *testing.T) {
		h := newHouse(t)
		story(h)
		if err := h.admin.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("socket", func(t *testing.T) {
		h := newHouse(t)
		h.serve()
		h.admin = api.Dial(listen.SocketPath(h.dir))
		story(h)
		if err := h.admin.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestAdministration is each call of the client.
func TestAdministration(t *testing.T) {
	bothWays(t, func(h *house) {
		users(h)
		made := makeAndList(h)
		revocations(h, made)
		s, err := h.admin.Status(h.Context())
		if err != nil || s.Version != "test" || s.Users < 3 || s.Tokens < 3 || s.Actor == "" || s.Started == 0 {
			h.Errorf("got status %+v, %v", s, err)
		}
	})
}

func users(h *house) {
	h.Helper()
	all := addUsers(h)
	listUsers(h, all)
	unknownUsers(h)
	changeUser(h, "carol@example.com")
}

// addUsers returns the uids of all users, with alice, in order.
func addUsers(h *house) []string {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for _, uid := range []string{"carol@example.com", "Bob@example.com", "odd//../name+%2f?#@example.com"} {
		made, err := c.AddUser(ctx, api.NewUser{UID: uid, Name: "N of " + uid})
		if err != nil || len(made.Password) < 20 || made.Unusable {
			h.Fatalf("got the password %+v, %v", made, err)
		}
		h.userpass(uid, made.Password).want(http.StatusOK)
	}
	_, err := c.AddUser(ctx, api.NewUser{UID: "BOB@EXAMPLE.COM"})
	wantStatus(h.TB, "the same user", err, http.StatusConflict)
	for _, bad := range []api.NewUser{
		{UID: ""}, {UID: "bob"}, {UID: "@example.com"}, {UID: "a@"}, {UID: "a b@example.com"}, {UID: "a\x00@example.com"}, {UID: "a\u202e@example.com"},
		{UID: strings.Repeat("a", 250) + "@example.com"}, {UID: "d@example.com", Name: "a\x1b[31m"}, {UID: "d@example.com", Password: strings.Repeat("p", 257)},
	} {
		_, err := c.AddUser(ctx, bad)
		wantStatus(h.TB, fmt.Sprintf("%.40q", bad), err, http.StatusBadRequest)
	}
	return []string{alice, "Bob@example.com", "carol@example.com", "odd//../name+%2f?#@example.com"}
}

func listUsers(h *house, all []string) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for _, q := range []struct {
		api.UserQuery
		want []string
	}{
		{api.UserQuery{}, all},
		{api.UserQuery{Limit: 2}, all[:2]},
		{api.UserQuery{After: "BOB@example.com"}, all[2:]},
		{api.UserQuery{Filters: api.Where("prefix", "CAR")}, all[2:3]},
		{api.UserQuery{Filters: api.Where("prefix", "c"), After: "carol@example.com"}, nil},
		{api.UserQuery{Filters: api.Where("prefix", "x")}, nil},
	} {
		if got := uids(collect(h.TB, c.Users(ctx, q.UserQuery))); !slices.Equal(got, q.want) {
			h.Errorf("%+v: got %v, want %v", q.UserQuery, got, q.want)
		}
	}
	for _, uid := range all {
		u, err := c.User(ctx, strings.ToUpper(uid))
		if err != nil || u.UID != uid || u.State != api.StateActive || u.Source != storage.SourceLocal {
			h.Errorf("%s: got %+v, %v", uid, u, err)
		}
	}
}

func unknownUsers(h *house) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for what, call := range map[string]func(uid string) error{
		"show":    func(uid string) error { _, err := c.User(ctx, uid); return err },
		"passwd":  func(uid string) error { _, err := c.SetPassword(ctx, uid, ""); return err },
		"disable": func(uid string) error { return c.DisableUser(ctx, uid) },
		"enable":  func(uid string) error { return c.EnableUser(ctx, uid) },
		"remove":  func(uid string) error { return c.RemoveUser(ctx, uid) },
	} {
		for _, uid := range []string{"nobody@example.com", "..", "a/b", "alice@example.com\x00"} {
			wantStatus(h.TB, what+" "+uid, call(uid), http.StatusNotFound)
		}
		if err := call("odd//../name+%2f?#@example.com"); err != nil && what != "remove" && !errors.As(err, new(*api.Error)) {
			h.Errorf("%s: %v", what, err)
		}
	}
}

// changeUser changes a user, and leaves the user disabled.
func changeUser(h *house, uid string) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	made := must.Get(c.SetPassword(ctx, uid, ""))(h)
	h.userpass(uid, made.Password).want(http.StatusOK)
	_, err := c.SetPassword(ctx, uid, strings.Repeat("p", 257))
	wantStatus(h.TB, "a password too long", err, http.StatusBadRequest)
	must.Do(h, c.DisableUser(ctx, uid))
	if u, _ := c.User(ctx, uid); u.State != api.StateDisabled || u.Tokens != 2 {
		h.Errorf("got %+v, want %s disabled, with two tokens", u, uid)
	}
	_, err = c.CreateToken(ctx, api.TokenRequest{UID: uid})
	wantStatus(h.TB, "a token for a disabled user", err, http.StatusConflict)
}

// makeAndList makes tokens for alice and lists them.
func makeAndList(h *house) []api.NewToken {
	h.Helper()
	before := len(collect(h.TB, h.admin.Tokens(h.Context(), api.TokenQuery{})))
	made := createTokens(h)
	h.clock.Move(time.Second)
	h.ask("GET", "/api/token").token(made[0].Secret).send().want(http.StatusOK)
	listTokens(h, before)
	return made
}

// createTokens makes five tokens of alice, t0 to t4, a second apart.
func createTokens(h *house) (made []api.NewToken) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for i := range 5 {
		h.clock.Move(time.Second)
		tk, err := c.CreateToken(ctx, api.TokenRequest{UID: "ALICE@example.com", Name: fmt.Sprint("t", i), ExpiresIn: "90d", Scopes: []string{"files"}, Addresses: []string{"192.0.2.0/24"}})
		if err != nil || tk.UID != alice {
			h.Fatalf("got %+v, %v", tk.ID, err)
		}
		made = append(made, tk)
	}
	for what, req := range map[string]api.TokenRequest{
		"no user": {UID: "nobody@example.com"}, "bad span": {UID: alice, ExpiresIn: "x"}, "bad scope": {UID: alice, Scopes: []string{"a b"}}, "bad address": {UID: alice, Addresses: []string{"x"}}, "bad name": {UID: alice, Name: "\n"},
	} {
		_, err := c.CreateToken(ctx, req)
		want := http.StatusBadRequest
		if what == "no user" {
			want = http.StatusNotFound
		}
		wantStatus(h.TB, what, err, want)
	}
	return made
}

// listTokens expects the tokens of createTokens, with t0 used last, and as many more as
// there were before.
func listTokens(h *house, before int) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	ids := func(q api.TokenQuery) (out []string) {
		for _, tk := range collect(h.TB, c.Tokens(ctx, q)) {
			out = append(out, tk.Name)
		}
		return out
	}
	mine := api.TokenQuery{Filters: api.Where("user", "Alice@Example.com")}
	if got, want := ids(mine), []string{"t1", "t2", "t3", "t4", "t0"}; !slices.Equal(got, want) {
		h.Errorf("got %v, want the oldest last use first, %v", got, want)
	}
	if got := len(collect(h.TB, c.Tokens(ctx, api.TokenQuery{}))); got != before+5 {
		h.Errorf("got %d tokens of all, want %d", got, before+5)
	}
	if got := ids(api.TokenQuery{Filters: api.Where("user", alice, "never-used", "true"), Limit: 2}); !slices.Equal(got, []string{"t1", "t2"}) {
		h.Errorf("never used: got %v", got)
	}
	if got := ids(api.TokenQuery{Filters: api.Where("user", alice, "idle", "3s")}); !slices.Equal(got, []string{"t1", "t2"}) {
		h.Errorf("idle for 3s: got %v", got)
	}
	var paged []string
	for q := (api.TokenQuery{Filters: api.Where("user", alice), Limit: 2}); ; {
		page := collect(h.TB, c.Tokens(ctx, q))
		if len(page) == 0 {
			break
		}
		for _, tk := range page {
			paged = append(paged, tk.Name)
		}
		q.After = page[len(page)-1].Cursor(api.ByLastUsed)
	}
	if !slices.Equal(paged, ids(mine)) {
		h.Errorf("page by page: got %v", paged)
	}
	wantStatus(h.TB, "tokens of nobody", failure(c.Tokens(ctx, api.TokenQuery{Filters: api.Where("user", "nobody@example.com")})), http.StatusNotFound)
	wantStatus(h.TB, "a bad span", failure(c.Tokens(ctx, api.TokenQuery{Filters: api.Where("idle", "x")})), http.StatusBadRequest)
	wantStatus(h.TB, "a bad cursor", failure(c.Tokens(ctx, api.TokenQuery{After: "x"})), http.StatusBadRequest)
}

func revocations(h *house, made []api.NewToken) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for what, r := range map[string]struct {
		ids  []string
		want int
	}{
		"unknown": {[]string{made[1].ID, "0100000000"}, http.StatusNotFound}, "short": {[]string{made[1].ID[:7]}, http.StatusBadRequest}, "a secret": {[]string{made[1].Secret}, http.StatusBadRequest}, "nonsense": {[]string{"xyzxyzxyz"}, http.StatusNotFound},
	} {
		_, err := c.Revoke(ctx, api.Revocation{IDs: r.ids})
		wantStatus(h.TB, what, err, r.want)
	}
	h.ask("GET", "/api/token").token(made[1].Secret).send().want(http.StatusOK)
	n, err := c.Revoke(ctx, api.Revocation{IDs: []string{made[1].ID, strings.ToUpper(made[2].ID[:12]), made[1].ID[:10]}})
	if err != nil || n.Revoked != 2 {
		h.Errorf("got %+v, %v, want 2 revoked", n, err)
	}
	if n, err = c.Revoke(ctx, api.Revocation{IDs: []string{made[1].ID}}); err != nil || n.Revoked != 0 {
		h.Errorf("again: got %+v, %v, want none", n, err)
	}
	h.dead(made[1].Secret)
	h.dead(made[2].Secret)
	if n, err = c.Revoke(ctx, api.Revocation{}); err != nil || n.Revoked != 0 {
		h.Errorf("nothing: got %+v, %v", n, err)
	}
	if tk := adminToken(h, made[1].ID); tk.State != api.StateRevoked || tk.LastUsed != h.clock.Milli() || tk.LastAddress != "192.0.2.1" {
		h.Errorf("got %+v, want it revoked, with its last use", tk)
	}
}

// TestAdminRefusals: what the client never sends.
func TestAdminRefusals(t *testing.T) {
	h := newHouse(t)
	h.web = h.AdminHandler("tester")
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/admin/users?limit=0", "", http.StatusBadRequest},
		{"GET", "/admin/users?limit=x", "", http.StatusBadRequest},
		{"GET", "/admin/tokens?after=1.x", "", http.StatusBadRequest},
		{"GET", "/admin/tokens?idle=-1d", "", http.StatusBadRequest},
		{"GET", "/admin/tokens?idel=90d", "", http.StatusBadRequest},
		{"GET", "/admin/users?colour=red", "", http.StatusBadRequest},
		{"GET", "/admin/tokens/count?never-used=perhaps", "", http.StatusBadRequest},
		{"GET", "/admin/tokens?at=noon", "", http.StatusBadRequest},
		{"GET", "/admin/tokens?reverse=yes", "", http.StatusBadRequest},
		{"GET", "/admin/users?reverse=1", "", http.StatusBadRequest},
		{"GET", "/admin/tokens/count?revoked=", "", http.StatusBadRequest},
		{"GET", "/admin/events?follow=yes", "", http.StatusBadRequest},
		{"GET", "/admin/tokens/count?name=zzzz;limit=1", "", http.StatusBadRequest}, // a filter must not get lost
		{"GET", "/admin/tokens/matching?name=%zz", "", http.StatusBadRequest},
		{"GET", "/admin/users?search=a;b", "", http.StatusBadRequest},
		{"GET", "/admin/events?action=%", "", http.StatusBadRequest},
		{"GET", "/admin/services?owner=a;b", "", http.StatusBadRequest},
		{"POST", "/admin/users", `{"uid":"a@b","uid":"c@d"}`, http.StatusBadRequest},
		{"POST", "/admin/users", `{"uid":"a@b","admin":true}`, http.StatusBadRequest},
		{"POST", "/admin/users", `null`, http.StatusBadRequest},
		{"POST", "/admin/tokens/revoke", `{"ids":"all"}`, http.StatusBadRequest},
		{"POST", "/admin/tokens/revoke", pad("{}", 64<<10+1), http.StatusRequestEntityTooLarge},
		{"PUT", "/admin/users", "", http.StatusMethodNotAllowed},
		{"GET", "/admin/nothing", "", http.StatusNotFound},
		{"GET", "/api/tokens", "", http.StatusNotFound},
		{"POST", "/admin/users//disable", "", http.StatusNotFound},
	} {
		a := h.ask(c.method, c.path)
		if c.body != "" {
			a.json(c.body)
		}
		a.send().want(c.want)
	}
	for _, path := range []string{"/admin/users", "/admin/users/" + alice + "/password", "/admin/tokens"} {
		body := map[string]string{"/admin/users": `{"uid":"z@example.com"}`, "/admin/tokens": `{"uid":"alice@example.com"}`}[path]
		if body == "" {
			body = `{}`
		}
		h.ask("POST", path).json(body).send().want(http.StatusOK).wantHeader("Cache-Control", "no-store")
	}
	if strings.Contains(h.log.String(), "level=ERROR") {
		t.Error(h.log)
	}
}

// TestOlderServer: a command that the server does not know yet.
func TestOlderServer(t *testing.T) {
	h := newHouse(t)
	nothingOfIt := api.InProcess(h.Handler(), func() error { return nil })
	_, err := nothingOfIt.Status(t.Context())
	wantStatus(t, "a path that is not there", err, http.StatusNotFound)
	if err != nil && !strings.Contains(err.Error(), "older version") {
		t.Errorf("got %v, want it to tell of an older version", err)
	}
}

func TestSocketFiles(t *testing.T) {
	h := newHouse(t)
	run := filepath.Join(h.dir, "run")
	must.Do(t, os.MkdirAll(run, 0o777))
	stale := must.Get(net.Listen("unix", listen.SocketPath(h.dir)))(t)
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	h.serve()
	for file, want := range map[string]fs.FileMode{run: 0o700, listen.SocketPath(h.dir): 0o600} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %v", file, info.Mode(), err, want)
		}
	}
	must.Get(api.Dial(listen.SocketPath(h.dir)).Status(t.Context()))(t)
}

func TestNoServer(t *testing.T) {
	_, err := api.Dial(filepath.Join(t.TempDir(), "run", "admin.sock")).Status(t.Context())
	if e := (*api.UnreachableError)(nil); !errors.As(err, &e) {
		t.Errorf("got %v, want an UnreachableError", err)
	}
}

// TestSocketPeer connects as another user of the host, for whom somebody opened
// up the directory and the socket: the peer's credentials decide.
func TestSocketPeer(t *testing.T) {
	if child := os.Getenv("GATEHOUSE_TEST_SOCKET"); child != "" {
		_, err := api.Dial(child).Status(context.Background())
		fmt.Printf("answer: %v\n", err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can run a child as another user")
	}
	h := newHouse(t)
	h.serve()
	passable(t, filepath.Join(h.dir, "run"))
	must.Do(t, os.Chmod(listen.SocketPath(h.dir), 0o777))
	ask := func(uid uint32) string {
		t.Helper()
		return child(t, "TestSocketPeer", &syscall.Credential{Uid: uid, Gid: uid}, "GATEHOUSE_TEST_SOCKET="+listen.SocketPath(h.dir))
	}
	if out := ask(0); !strings.Contains(out, "answer: <nil>") {
		t.Errorf("as root: got %s", out)
	}
	if out := ask(65534); !strings.Contains(out, "the owner of the data directory, may administer") {
		t.Errorf("as another user: got %s, want a refusal", out)
	}
}

// passable lets everybody through a directory, and those above it.
func passable(t *testing.T, dir string) {
	t.Helper()
	for ; strings.HasPrefix(dir, os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		must.Do(t, os.Chmod(dir, 0o755))
	}
}

// child runs a test in a process of another account, and returns what it prints.
func child(t *testing.T, test string, as *syscall.Credential, env ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "server.test")
	self := must.Get(os.ReadFile("/proc/self/exe"))(t)
	must.Do(t, os.WriteFile(binary, self, 0o755))
	passable(t, filepath.Dir(binary))
	// The kernel takes a login uid only from the first thread of a process. A shell has no other.
	login := `if [ -n "$GATEHOUSE_TEST_LOGIN" ]; then echo "$GATEHOUSE_TEST_LOGIN" >/proc/self/loginuid || exit; fi; exec "$0" "$@"`
	cmd := exec.Command("/bin/sh", "-c", login, binary, "-test.run=^"+test+"$", "-test.v")
	cmd.Env, cmd.Dir = append(os.Environ(), env...), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run as %v: %v\n%s", as, err, out)
	}
	return string(out)
}

// TestRoles connects as members of the groups in the configuration. Only these groups let
// the members in. Each may do what the role says, and is told what it may not do.
func TestRoles(t *testing.T) {
	if socket := os.Getenv("GATEHOUSE_TEST_ROLES"); socket != "" {
		rolesOfChild(socket)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can run a child as another user")
	}
	groups := map[string]string{"daemon": "admin", "mail": "operator", "games": "auditor"}
	h := newHouse(t, func(cfg *config.Config) { cfg.Admin.Groups = groups }, withProvider(oauthtest.New(t, "oidc"), "corp"))
	made := h.create(`{"name":"t"}`)
	h.service("robot", alice, "")
	scim := "GATEHOUSE_TEST_SCIM=" + h.serviceToken("robot@service", "scim", "scim:corp").ID
	h.serve()
	passable(t, filepath.Dir(h.dir))
	must.Do(t, os.Chmod(h.dir, 0o700))
	h.ShareSocket() // the change of the mode took the access back
	for _, c := range []struct {
		groups []string
		want   string
	}{
		{nil, "permission denied"}, // by the kernel
		{[]string{"games"}, "status auditor; tokens ok; events ok; identify ok; found 403 operator auditor; rename 403 operator auditor; disable 403 operator auditor; backup 403 operator auditor; add 403 admin auditor; link 403 admin auditor; remove 403 admin auditor; keys ok; rotate key 403 admin auditor"},
		{[]string{"mail"}, "status operator; tokens ok; events ok; identify ok; found ok; rename ok; disable ok; backup ok; add 403 admin operator; link 403 admin operator; remove 403 admin operator; keys 403 admin operator; rotate key 403 admin operator; make scim 403 admin operator; rotate scim 403 admin operator"},
		{[]string{"games", "mail"}, "status operator;"},
		{[]string{"mail", "daemon", "games"}, "status admin; tokens ok; events ok; identify ok; found ok; rename ok; disable ok; backup ok; add ok; link ok; remove ok; keys ok; rotate key ok; make scim ok; rotate scim ok"},
	} {
		var gids []uint32
		for _, name := range c.groups {
			g := must.Get(user.LookupGroup(name))(t)
			gid, _ := strconv.Atoi(g.Gid)
			gids = append(gids, uint32(gid))
		}
		out := child(t, "TestRoles", &syscall.Credential{Uid: 65534, Gid: 65534, Groups: gids},
			"GATEHOUSE_TEST_ROLES="+listen.SocketPath(h.dir), scim, "GATEHOUSE_TEST_ID="+made.ID)
		if !strings.Contains(out, c.want) {
			t.Errorf("as a member of %q: got %s, want %s", c.groups, out, c.want)
		}
	}
	if got, err := h.admin.History(t.Context(), api.HistoryQuery{Token: made.ID, Last: 1}); err != nil || len(got.Events) != 1 || got.Events[0].Actor != "nobody" {
		t.Errorf("got %+v, %v, want the person who renamed it", got.Events, err)
	}
	// With sudo, root is still the person who logged in.
	out := child(t, "TestRoles", &syscall.Credential{Uid: 0, Gid: 0}, "GATEHOUSE_TEST_ROLES="+listen.SocketPath(h.dir), scim, "GATEHOUSE_TEST_ID="+made.ID, "GATEHOUSE_TEST_LOGIN=2")
	if !strings.Contains(out, "status admin; tokens ok;") {
		t.Errorf("as root: got %s", out)
	}
	if got, err := h.admin.History(t.Context(), api.HistoryQuery{Token: made.ID, Last: 1}); err != nil || len(got.Events) != 1 || got.Events[0].Actor != "bin" {
		t.Errorf("got %+v, %v, want the account that was logged in to", got.Events, err)
	}
	cfg := h.cfg
	cfg.Admin.Groups = nil
	h.Reload(cfg)
	g, _ := user.LookupGroup("daemon")
	gid, _ := strconv.Atoi(g.Gid)
	ask := func() string {
		return child(t, "TestRoles", &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{uint32(gid)}}, "GATEHOUSE_TEST_ROLES="+listen.SocketPath(h.dir), scim, "GATEHOUSE_TEST_ID="+made.ID)
	}
	if out := ask(); !strings.Contains(out, "permission denied") {
		t.Errorf("after the groups are gone: got %s", out)
	}
	must.Do(t, listen.Share(h.dir, []uint32{uint32(gid)}))
	if out := ask(); !strings.Contains(out, "Only root and root, the owner of the data directory, may administer") {
		t.Errorf("let through without a role: got %s", out)
	}
}

// rolesOfChild tries one call of each kind, and prints what came of them.
func rolesOfChild(socket string) {
	ctx, c, id := context.Background(), api.Dial(socket), os.Getenv("GATEHOUSE_TEST_ID")
	st, err := c.Status(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	list := []string{"status " + string(st.Role)}
	if who, err := c.Who(ctx); err != nil || who != (api.Who{Actor: st.Actor, Role: st.Role}) {
		list = append(list, fmt.Sprintf("who %v, %v", who, err))
	}
	note := func(what string, err error) {
		e := (*api.Error)(nil)
		switch {
		case err == nil:
			list = append(list, what+" ok")
		case errors.As(err, &e) && e.Status == http.StatusForbidden:
			needs, has := "", ""
			fmt.Sscanf(strings.ReplaceAll(e.Message, ":", " :"), "This needs the role %s : "+st.Actor+" has the role %s ", &needs, &has)
			if role, ok := strings.CutSuffix(has, ","); !ok || !strings.HasSuffix(e.Message, "which "+api.Role(role).May()) {
				list = append(list, "not told what "+has+" may: "+e.Message)
			}
			has = strings.TrimSuffix(has, ",")
			list = append(list, what+" 403 "+needs+" "+has)
		default:
			list = append(list, what+" "+err.Error())
		}
	}
	note("tokens", failure(c.Tokens(ctx, api.TokenQuery{})))
	note("events", failure(c.Events(ctx, api.EventQuery{})))
	_, err = c.Identify(ctx, api.Texts{Texts: []string{"x"}})
	note("identify", err)
	_, err = c.RevokeFound(ctx, api.Finds{})
	note("found", err)
	note("rename", c.RenameToken(ctx, id, "u"))
	note("disable", errors.Join(c.DisableUser(ctx, alice), c.EnableUser(ctx, alice)))
	note("backup", errors.Join(c.Backup(ctx, io.Discard), c.NoteBackup(ctx)))
	_, err = c.AddUser(ctx, api.NewUser{UID: "new@example.com"})
	note("add", err)
	_, err = c.LinkUser(ctx, "new@example.com", api.Link{Identity: api.Identity{Source: "ldap", Subject: "x"}, Unchecked: true})
	note("link", err)
	note("remove", c.RemoveUser(ctx, "new@example.com"))
	_, err = c.Keys(ctx)
	note("keys", err)
	_, err = c.RotateKey(ctx, api.KeyRotation{})
	note("rotate key", err)
	// Who holds such a token can add and remove users.
	_, err = c.CreateToken(ctx, api.TokenRequest{UID: "robot@service", Scopes: []string{"scim:corp"}})
	note("make scim", err)
	_, err = c.RotateToken(ctx, os.Getenv("GATEHOUSE_TEST_SCIM"), api.Rotation{})
	note("rotate scim", err)
	fmt.Println(strings.Join(list, "; "))
}

// TestRolesOfRoutes: every route of the administration says which role it needs, and
// auditors may call those that only read.
func TestRolesOfRoutes(t *testing.T) {
	h := newHouse(t)
	for _, rt := range h.Admin().Routes() {
		reads := strings.HasPrefix(rt.Pattern, "GET ") && rt.Pattern != "GET /admin/backup" || rt.Pattern == "POST /admin/identify"
		if rt.Role == "" || rt.Who != route.ByPeer || reads != (rt.Role == api.Auditor) {
			t.Errorf("%s: got the role %q", rt.Pattern, rt.Role)
		}
	}
}

// TestStopEndsFollowers: a client that follows the log does not keep the server from
// stopping.
func TestStopEndsFollowers(t *testing.T) {
	h := newHouse(t)
	l := must.Get(h.listen())(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx) }()
	following := make(chan error, 1)
	go func() {
		for _, err := range api.Dial(listen.SocketPath(h.dir)).Events(t.Context(), api.EventQuery{Follow: true}) {
			if err != nil {
				following <- err
				return
			}
			stop()
		}
		following <- nil
	}()
	if err := <-following; err != nil {
		t.Errorf("the follower: got %v, want an end", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server: got %v", err)
	}
}
