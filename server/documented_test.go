package server_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"gatehouse/server/api"
)

var secretForm = regexp.MustCompile(`^[0-9a-f]{256}$`)

// TestDocumentedLife is the life of a token as the documents describe it.
func TestDocumentedLife(t *testing.T) {
	h := newHouse(t)
	var login map[string]string
	h.ask("POST", "/api/authenticate/userpass").form("username=alice%40example.com&password=correct+horse+battery+staple").send().
		want(http.StatusOK).wantHeader("Cache-Control", "no-store").wantHeader("Content-Type", "application/json").into(&login)
	token := login["token"]
	if !secretForm.MatchString(token) || login["expiresOn"] != "292278994-08-17T07:12:55.807Z" || len(login) != 2 {
		t.Fatalf("got %v, want a token of 256 hexadecimal characters that never ends, and nothing else", login)
	}

	created := h.clock.Milli()
	h.clock.Move(1234 * time.Millisecond)
	var list []map[string]any
	h.ask("GET", "/api/getApiTokens").token(token).send().
		want(http.StatusOK).wantHeader("Cache-Control", "no-store").into(&list)
	if len(list) != 1 {
		t.Fatalf("got %d tokens, want 1", len(list))
	}
	for name, want := range map[string]any{
		"uid": alice, "apiToken": token, "created": float64(created), "lastUsed": float64(created + 1234),
	} {
		if list[0][name] != want {
			t.Errorf("%s: got %v, want %v", name, list[0][name], want)
		}
	}

	h.ask("GET", "/api/revokeApiToken").token(token).send().want(http.StatusOK, "{}")
	h.dead(token)
	h.ask("GET", "/api/revokeApiToken").token(token).send().want(http.StatusOK, "{}")
}

func TestNewTokenIsUnused(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	h.clock.Move(time.Second)
	made := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	var list []api.DocumentedToken
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusOK).into(&list)
	if len(list) != 1 || list[0].Created != h.clock.Milli() || list[0].LastUsed != list[0].Created {
		t.Errorf("got %+v, want one token with lastUsed as created, %d", list, h.clock.Milli())
	}
	if list[0].APIToken != made.Secret {
		t.Errorf("got apiToken %.8s…, want the token in full", list[0].APIToken)
	}
}

func TestCreateApiToken(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	made := h.ask("GET", "/api/createApiToken").cookie(cookie).send().newToken()
	if !secretForm.MatchString(made.Secret) || made.ExpiresOn != api.Never {
		t.Errorf("got %.20s… until %s, want a token that never ends", made.Secret, made.ExpiresOn)
	}
	h.alive(made.Secret)
}

func TestTokensOldestFirst(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	var want []string
	for range 12 {
		want = append(want, h.ask("POST", "/api/token").cookie(cookie).send().newToken().ID)
		h.clock.Move(time.Millisecond)
	}
	for _, path := range []string{"/api/getApiTokens", "/api/tokens"} {
		var list []api.Token
		h.ask("GET", path).cookie(cookie).send().want(http.StatusOK).into(&list)
		var got []string
		for _, tk := range list {
			got = append(got, tk.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want the order of their making, %v", path, got, want)
		}
	}
}

// TestOwnTokensAlone has two users, who see and touch nothing of each other's.
func TestOwnTokensAlone(t *testing.T) {
	h := newHouse(t)
	h.addUser("bob@example.com", "hunter2hunter2")
	his := h.userpass("bob@example.com", "hunter2hunter2").newToken()
	hers := h.token()
	list := h.listed(hers)
	if len(list) != 1 {
		t.Fatalf("got %d tokens, want alice's one", len(list))
	}
	var bobs api.Token
	h.ask("GET", "/api/token").token(his.Secret).send().want(http.StatusOK).into(&bobs)
	cookie := h.login(alice, password)
	h.ask("DELETE", "/api/token/"+bobs.ID).token(hers).send().want(http.StatusNotFound)
	h.ask("DELETE", "/api/token/"+bobs.ID).cookie(cookie).send().want(http.StatusNotFound)
	h.ask("PATCH", "/api/token/"+bobs.ID).cookie(cookie).json(`{"name":"mine"}`).send().want(http.StatusNotFound)
	h.alive(his.Secret)
}

func TestTokensHaveNoSecret(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	for _, path := range []string{"/api/tokens", "/api/token"} {
		text := h.ask("GET", path).token(token).send().want(http.StatusOK).text
		if regexp.MustCompile(`[0-9a-f]{29}`).MatchString(text) || regexp.MustCompile(`apiToken`).MatchString(text) {
			t.Errorf("GET %s: got %s, want no secret in it", path, text)
		}
	}
}

func TestThisToken(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{"name":"ci","expiresIn":"90d","scopes":["files","tokens:read"],"addresses":["192.0.2.0/24"]}`)
	h.clock.Move(time.Minute)
	var got map[string]any
	h.ask("GET", "/api/token").token(made.Secret).send().want(http.StatusOK).into(&got)
	for name, want := range map[string]any{
		"id": made.ID, "uid": alice, "name": "ci",
		"created": float64(made.Created), "lastUsed": float64(h.clock.Milli()),
		"expiresOn": "2026-05-30T12:00:00.000Z",
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	if s := toJSON(got["scopes"]); s != `["files","tokens:read"]` {
		t.Errorf("got scopes %s", s)
	}
	fields := []string{"addresses", "created", "expiresOn", "id", "lastUsed", "name", "scopes", "uid"}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, fields) {
		t.Errorf("got the fields %q, want no more than the documented %q", keys, fields)
	}
	var rows []map[string]any
	h.ask("GET", "/api/tokens").token(h.token()).send().want(http.StatusOK).into(&rows)
	for _, row := range rows {
		if keys := slices.Sorted(maps.Keys(row)); !slices.Equal(keys, fields) {
			t.Errorf("listed: got the fields %q, want no more than the documented %q", keys, fields)
		}
	}
	if s := toJSON(got["addresses"]); s != `["192.0.2.0/24"]` {
		t.Errorf("got addresses %s", s)
	}
}

func TestRenameToken(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	made := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	path := "/api/token/" + made.ID
	h.ask("PATCH", path).cookie(cookie).json(`{"name":"Bäckup ✓"}`).send().want(http.StatusNoContent, "")
	if got := h.listed(made.Secret)[made.ID].Name; got != "Bäckup ✓" {
		t.Errorf("got name %q", got)
	}
	for name, want := range map[string]string{"می\u200cخواهم": "می\u200cخواهم", "👩\u200d👧": "👩\u200d👧", " a b ": "a b", "  ": "", "Bäckup ✓": "Bäckup ✓"} {
		h.ask("PATCH", path).cookie(cookie).json(`{"name":"`+name+`"}`).send().want(http.StatusNoContent, "")
		if got := h.listed(made.Secret)[made.ID].Name; got != want {
			t.Errorf("got name %+q, want %+q", got, want)
		}
	}
	h.ask("PATCH", path).cookie(cookie).json(`{"name":"Bäckup ✓"}`).send().want(http.StatusNoContent, "")
	for _, body := range []string{
		`{}`, `{"name":null}`, `{"name":7}`, `{"name":["a"]}`, `{"name":"a","id":"b"}`, `{"name":"a","Name":"b"}`, `null`, `[]`, ``, `"a"`,
		`{"name":"a\u0000b"}`, `{"name":"a\nb"}`, `{"name":"a\u202eb"}`, `{"name":"a\u2066b"}`, `{"name":"\u001b[31m"}`, `{"name":"a\u2028b"}`,
		`{"name":"` + string(slices.Repeat([]byte("a"), 201)) + `"}`,
	} {
		h.ask("PATCH", path).cookie(cookie).json(body).send().want(http.StatusBadRequest)
	}
	h.ask("PATCH", path).token(made.Secret).json(`{"name":"b"}`).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("PATCH", "/api/token/"+made.ID[:20]).cookie(cookie).json(`{"name":"b"}`).send().want(http.StatusNotFound)
	if got := h.listed(made.Secret)[made.ID].Name; got != "Bäckup ✓" {
		t.Errorf("got name %q after refusals", got)
	}
}

func TestDeleteToken(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	byCookie := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	byOther := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	last := h.ask("POST", "/api/token").cookie(cookie).send().newToken()

	h.ask("DELETE", "/api/token/"+byCookie.ID).cookie(cookie).send().want(http.StatusNoContent, "")
	h.dead(byCookie.Secret)
	h.ask("DELETE", "/api/token/"+byOther.ID).token(last.Secret).send().want(http.StatusNoContent, "")
	h.dead(byOther.Secret)
	h.ask("DELETE", "/api/token/"+last.ID).token(last.Secret).send().want(http.StatusNoContent, "")
	h.dead(last.Secret)

	for _, id := range []string{last.ID, "01" + last.ID[2:26] + "00", last.ID[:27], last.ID + "0", "x", last.Secret, "%00", "..%2f..%2fetc"} {
		h.ask("DELETE", "/api/token/"+id).cookie(cookie).send().want(http.StatusNotFound)
	}
	h.ask("DELETE", "/api/token/"+last.ID).send().want(http.StatusUnauthorized, credentialsRequired)
}

// TestLastUsedExact moves the clock, also back, and reads the listing at once.
func TestLastUsedExact(t *testing.T) {
	h := newHouse(t)
	watcher := h.token()
	h.clock.Move(time.Millisecond)
	cookie := h.login(alice, password)
	made := h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	lastUsed := func() int64 {
		t.Helper()
		return h.listed(watcher)[made.ID].LastUsed
	}
	want := made.Created
	if got := lastUsed(); got != want {
		t.Errorf("got lastUsed %d of a new token, want created, %d", got, want)
	}
	for i, step := range []time.Duration{time.Second, time.Millisecond, 0, -time.Second, 300 * time.Millisecond, 700 * time.Millisecond, time.Millisecond} {
		h.clock.Move(step)
		want = max(want, h.clock.Milli())
		switch i % 3 {
		case 0:
			h.alive(made.Secret)
		case 1:
			h.ask("GET", "/api/getUserRecentFiles").header("Authorization", "Bearer "+made.Secret).send().want(http.StatusOK)
		case 2:
			h.ask("DELETE", "/api/token/none").token(made.Secret).send().want(http.StatusNotFound)
		}
		// A clock that is set back a second takes no use back, but shows none in the
		// future.
		if got := lastUsed(); got != min(want, h.clock.Milli()) {
			t.Errorf("step %d: got lastUsed %d, want %d", i, got, want)
		}
	}
	h.clock.Move(time.Second)
	h.ask("GET", "/api/token").token(flip(made.Secret, 255)).send().want(http.StatusUnauthorized)
	h.ask("POST", "/api/token").token(made.Secret).send().want(http.StatusUnauthorized)
	if got := lastUsed(); got != want {
		t.Errorf("got lastUsed %d after requests that it did not authenticate, want %d", got, want)
	}
}

// TestRestart closes the store and opens it again.
func TestRestart(t *testing.T) {
	h := newHouse(t)
	token, revoked := h.token(), h.token()
	cookie := h.login(alice, password)
	h.clock.Move(time.Second)
	h.ask("GET", "/api/revokeApiToken").token(revoked).send().want(http.StatusOK, "{}")
	h.alive(token)
	used := h.clock.Milli()
	h.clock.Move(time.Second)
	h.close()
	h.open()
	var list []api.DocumentedToken
	h.ask("GET", "/api/getApiTokens").cookie(cookie).send().want(http.StatusOK).into(&list)
	if len(list) != 1 || list[0].APIToken != token || list[0].LastUsed != used {
		t.Errorf("got %+v, want the one token, last used %d", list, used)
	}
	h.dead(revoked)
	h.alive(token)
}

func TestHealth(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		h.ask("GET", path).send().want(http.StatusOK)
		h.ask("HEAD", path).send().want(http.StatusOK)
		h.ask("GET", path).token("bad").send().want(http.StatusOK)
	}
	h.ask("GET", "/healthz").send().want(http.StatusOK, `{"status":"alive"}`)
	h.close()
	h.ask("GET", "/healthz").send().want(http.StatusOK)
	h.ask("GET", "/readyz").send().want(http.StatusServiceUnavailable, `{"error":"The server is stopping"}`)
	h.ask("GET", "/api/getApiTokens").token("bad").send().want(http.StatusUnauthorized)
	h.open()
}
