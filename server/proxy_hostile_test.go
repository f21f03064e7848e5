package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

// get sends a GET for a path as it is, with further lines of a header, and
// returns the status and what the application saw.
func (f *front) get(t *testing.T, path string, lines ...string) (status string, s seen) {
	t.Helper()
	head := "GET " + path + " HTTP/1.1\r\nHost: " + strings.TrimPrefix(f.url, "http://") + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	got := exchange(t, f.url, head)
	_, rest, _ := strings.Cut(got, " ")
	if status, _, _ = strings.Cut(rest, " "); status != "200" {
		return status, seen{}
	}
	_, body, _ := strings.Cut(got, "\r\n\r\n")
	if from, to := strings.Index(body, "{"), strings.LastIndex(body, "}"); from < 0 || json.Unmarshal([]byte(body[from:to+1]), &s) != nil {
		t.Fatalf("GET %s: got %.300q, which is not from the application", path, got)
	}
	return status, s
}

// agents: the client used a token, not the proxy.
func (f *front) agents(t *testing.T) {
	made := f.h.create(`{}`)
	f.send(t, "127.0.0.2", "GET", "/", nil, credentials{"X-Auth-Token": {made.Secret}, "User-Agent": {"backup/1.0"}})
	got, err := f.h.admin.Token(t.Context(), made.ID)
	if err != nil || len(got.Seen) != 1 || got.Seen[0].Address != "127.0.0.2" || got.Seen[0].Agent != "backup/1.0" {
		t.Errorf("got %+v, %v, want backup/1.0 from 127.0.0.2", got.Seen, err)
	}
}

// spellings: CGI and similar interfaces read X_Auth_User as X-Auth-User, and a proxy
// removes the headers that Connection names. Neither turns a client into somebody else.
func (f *front) spellings(t *testing.T) {
	token := "X-Auth-Token: " + f.h.token()
	for _, forged := range []string{
		"X_Auth_User: root", "x_auth_user: root", "X-Auth_User: root", "X_AUTH-USER: root", "X_Auth_Token_Id: root", "X-Auth-Token_Id: root",
		"X-Auth_Scopes: root", "x-auth-user: root\r\nX-AUTH-USER: root", "X-Auth-User:\r\nX-Auth-User: root",
		"X-Auth-User-Id: root", "X_Auth_User_Id: root", "X-Auth-User_Id: root", "X-Auth_User-Id: root", "x-auth-user-id: root\r\nX-Auth-User-Id: root",
		"X-Auth-User : root", " X-Auth-User: root", "X-Auth-User\r\n: root",
		"Connection: X-Auth-User", "Connection: X-Auth-User-Id", "Connection: x-auth-user, X-Auth-Scopes\r\nX-Auth-User: root", "Connection: close\r\nConnection: X-Auth-Token-Id",
	} {
		status, got := f.get(t, "/", token, forged, "Connection: close")
		if status != "200" {
			continue // a request that is not HTTP, or is refused as a forgery
		}
		h := got.Header
		if h.Get("X-Auth-User") != alice || h.Get("X-Auth-Scopes") != "*" || h.Get("X-Auth-Token-Id") == "" || !opaque.MatchString(h.Get("X-Auth-User-Id")) || strings.Contains(toJSON(h), "root") || strings.Contains(strings.ToLower(h.Get("Connection")), "x-auth") {
			t.Errorf("%q: the application saw %s", forged, toJSON(h))
		}
	}
}

// paths: any path that an application may take for /admin/ needs the scope.
func (f *front) paths(t *testing.T) {
	token := "X-Auth-Token: " + f.h.create(`{"scopes":["other"]}`).Secret
	for _, path := range []string{
		"/admin/", "//admin/", "/admin//x", "/./admin/", "/x/../admin/", "/x/%2e%2e/admin/", "/%61dmin/", "/admin%2f", "/admin/%2e", "/x%2f..%2fadmin/",
		"/admin/?scope=other", "/admin/%zz",
	} {
		if status, _ := f.get(t, path, token, "Connection: close"); status == "200" {
			t.Errorf("%s: got 200 without the scope", path)
		}
	}
	for _, path := range []string{"/a%2fb", "/a%20b?q=%zz", "/administration/", "/?/admin/"} {
		if status, got := f.get(t, path, token, "Connection: close"); status != "200" || got.URI != path {
			t.Errorf("%s: got %s, and %s at the application", path, status, got.URI)
		}
	}
}

// crowd: many at once, on connections that are used again, are not mixed up.
func (f *front) crowd(t *testing.T) {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	var all sync.WaitGroup
	for range 16 {
		made := f.h.create(`{}`)
		all.Go(func() {
			for range 50 {
				err := f.one(&client, made)
				for range 3 {
					if !errors.Is(err, errLost) {
						break
					}
					err = f.one(&client, made)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// errLost is the answer of a proxy that has lost the answer of Gatehouse, and lets nobody
// pass. Caddy 2.6 loses some, of net/http's servers too.
var errLost = errors.New("the answer got lost")

// one is a request of the crowd.
func (f *front) one(client *http.Client, made api.NewToken) error {
	r, err := http.NewRequest("POST", f.url+"/", strings.NewReader(made.ID))
	if err != nil {
		return err
	}
	r.Header.Set("X-Auth-Token", made.Secret)
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var s seen
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(b, &s)
	}
	if f.loses && resp.StatusCode == http.StatusBadGateway {
		return errLost
	}
	if err != nil || s.Length != len(made.ID) || s.Header.Get("X-Auth-Token-Id") != made.ID {
		return fmt.Errorf("token %s: got %d, %s, %v", made.ID, resp.StatusCode, b, err)
	}
	return nil
}

// gone: without Gatehouse, or with another server in its place, nobody gets in, not even
// on a connection that was let in before. When Gatehouse is back, everybody does.
func (f *front) gone(t *testing.T) {
	made := f.h.create(`{}`)
	c := credentials{"X-Auth-Token": {made.Secret}, "X-Auth-User": {alice}, "X-Auth-Token-Id": {made.ID}, "X-Auth-Scopes": {"*"}}
	kept := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer kept.CloseIdleConnections()
	must.Do(t, f.one(&kept, made))
	f.wantStatus(t, http.StatusOK, "127.0.0.1", "/", c)
	f.stop()
	if f.one(&kept, made) == nil {
		t.Error("a connection that was let in before is let in again")
	}
	for _, path := range []string{"/", "/admin/"} {
		f.wantStatus(t, f.down, "127.0.0.1", path, c)
	}
	f.impostors(t, made.Secret)
	f.h.serveAt(f.gate)
	f.wantStatus(t, http.StatusOK, "127.0.0.1", "/", c)
	if strings.Contains(f.log.String(), made.Secret) {
		t.Error("the token is in the proxy's log")
	}
}

// impostors: another server that answers in Gatehouse's place lets nobody in.
func (f *front) impostors(t *testing.T, secret string) {
	for what, answer := range map[string]http.HandlerFunc{
		"500":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"404":                http.NotFound,
		"302":                func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"200 without a name": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"no answer":          func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silence":            func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		if what == "silence" && f.waits || what == "200 without a name" && !f.loses {
			continue
		}
		stop := impostor(t, f.gate, answer)
		if status, _ := f.get(t, "/", "X-Auth-Token: "+secret, "Connection: close"); status == "200" {
			t.Errorf("%s in place of Gatehouse: got 200", what)
		}
		stop()
	}
}

// impostor runs another server in Gatehouse's place.
func impostor(t *testing.T, addr string, answer http.HandlerFunc) (stop func()) {
	t.Helper()
	l := must.Get(net.Listen("tcp", addr))(t)
	s := http.Server{Handler: answer}
	go s.Serve(l)
	return func() { s.Close() }
}
