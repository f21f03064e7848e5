package server_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

func rotatePath(id string) string { return "/api/token/" + id + "/rotate" }

// rotate asks with a token for its next secret.
func (h *house) rotate(id, with, body string) string {
	h.Helper()
	made := h.ask("POST", rotatePath(id)).token(with).json(body).send().newToken()
	if made.ID != id {
		h.Fatalf("got a token of id %s, want %s", made.ID, id)
	}
	return made.Secret
}

// happened counts the events of an action.
func (h *house) happened(action string) (n int) {
	h.Helper()
	for e := range must.All(h.admin.Events(h.Context(), api.EventQuery{}))(h) {
		if e.Action == action {
			n++
		}
	}
	return n
}

// restart closes the house and opens it again.
func (h *house) restart() {
	h.Helper()
	h.close()
	h.open()
}

// TestRotation: both secrets work until the new one is used. Then the old one never works
// again, not even after a restart.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{"name":"ci"}`)
	next := h.rotate(made.ID, made.Secret, "")
	if next == made.Secret {
		t.Fatal("the secret is the same")
	}
	h.restart()
	h.ask("GET", verifyPath).token(made.Secret).send().wantIdentity(alice, made.ID, "*")
	if got := h.listed(made.Secret)[made.ID].APIToken; got != next {
		t.Errorf("the listing shows %.40s, want the new secret", got)
	}
	h.introspected(made.Secret, next)
	h.alive(made.Secret) // an introspection is not a use
	h.alive(next)
	h.dead(made.Secret)
	h.alive(next)
	h.restart()
	h.dead(made.Secret)
	h.alive(next)
	if got := adminToken(h, made.ID); got.Name != "ci" || got.Created != made.Created {
		t.Errorf("got %+v after a rotation", got)
	}
	if got := h.happened(storage.ActionTokenRotate); got != 1 {
		t.Errorf("got %d events of a rotation, want 1", got)
	}
}

// TestRotationRetried: the same request again, with the old secret or the cookie, returns
// the same secret.
func TestRotationRetried(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	cookie := h.login(alice, password)
	byCookie := func(body string) string {
		t.Helper()
		return h.ask("POST", rotatePath(made.ID)).cookie(cookie).json(body).send().newToken().Secret
	}
	next := h.rotate(made.ID, made.Secret, `{"overlap":"2h"}`)
	h.clock.Move(time.Hour)
	for range 3 {
		if h.rotate(made.ID, made.Secret, `{"overlap":"2h"}`) != next || byCookie(`{"overlap":"2h"}`) != next || byCookie("") != next {
			t.Fatal("a retry gives another secret")
		}
	}
	h.restart()
	if h.rotate(made.ID, made.Secret, `{"overlap":"2h"}`) != next {
		t.Error("a retry after a restart gives another secret")
	}
	h.clock.Move(time.Hour)
	h.dead(made.Secret) // the retries have not made the overlap longer
	third := byCookie("")
	if third == next {
		t.Error("after the overlap, the cookie gets the same secret")
	}
	fourth := h.rotate(made.ID, third, "") // its first use, which ends the second
	h.dead(next)
	h.alive(third)
	h.alive(fourth)
	h.dead(third)
}

// TestRotationCutShort: a later request may end the old secret sooner.
func TestRotationCutShort(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	cookie := h.login(alice, password)
	next := h.rotate(made.ID, made.Secret, "")
	h.rotate(made.ID, made.Secret, `{"overlap":"1h"}`)
	h.clock.Move(time.Hour - time.Millisecond)
	h.alive(made.Secret)
	if got := h.ask("POST", rotatePath(made.ID)).cookie(cookie).json(`{"overlap":"0"}`).send().newToken().Secret; got != next {
		t.Error("got another secret")
	}
	h.dead(made.Secret)
	h.alive(next)
}

func TestRotationOverlapEnds(t *testing.T) {
	h := newHouse(t)
	for overlap, d := range map[string]time.Duration{`{"overlap":"90m"}`: 90 * time.Minute, `{"overlap":"30d"}`: 720 * time.Hour, `{}`: 24 * time.Hour, ``: 24 * time.Hour} {
		made := h.create(`{}`)
		next := h.rotate(made.ID, made.Secret, overlap)
		h.clock.Move(d - time.Millisecond)
		h.alive(made.Secret)
		h.clock.Move(time.Millisecond)
		h.dead(made.Secret)
		h.alive(next)
		h.clock.Move(-time.Hour) // a clock set back revives nothing
		h.dead(made.Secret)
	}
	for _, none := range []string{`{"overlap":"0"}`, `{"overlap":"0s"}`} {
		made := h.create(`{}`)
		next := h.rotate(made.ID, made.Secret, none)
		h.dead(made.Secret)
		h.alive(next)
	}
}

func TestRotationRefused(t *testing.T) {
	h := newHouse(t)
	made, scoped := h.create(`{}`), h.create(`{"scopes":["files"]}`)
	cookie := h.login(alice, password)
	h.addUser("bob@example.com", password)
	bob := h.userpass("bob@example.com", password).newToken().Secret
	path := rotatePath(made.ID)
	h.ask("POST", path).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("POST", path).header("Authorization", basic("x", made.Secret)).send().want(http.StatusUnauthorized)
	h.ask("POST", path).token(bob).send().want(http.StatusNotFound)
	h.ask("POST", path).cookie(h.login("bob@example.com", password)).send().want(http.StatusNotFound)
	h.ask("POST", path).token(h.token()).send().want(http.StatusForbidden)
	h.ask("POST", path).cookie(cookie).header("Sec-Fetch-Site", "cross-site").send().want(http.StatusForbidden)
	h.ask("POST", path).cookie(cookie).token(flip(made.Secret, 9)).send().want(http.StatusUnauthorized)
	h.ask("POST", rotatePath(scoped.ID)).token(scoped.Secret).send().want(http.StatusForbidden)
	h.ask("POST", rotatePath(strings.Repeat("0", 28))).cookie(cookie).send().want(http.StatusNotFound)
	h.ask("POST", rotatePath("x")).cookie(cookie).send().want(http.StatusNotFound)
	h.ask("GET", path).cookie(cookie).send().want(http.StatusMethodNotAllowed)
	for _, body := range []string{`{"overlap":""}`, `{"overlap":"x"}`, `{"overlap":"-1h"}`, `{"overlap":"31d"}`, `{"overlap":0}`, `{"overlap":"1h","x":1}`, `[]`} {
		h.ask("POST", path).cookie(cookie).json(body).send().want(http.StatusBadRequest)
	}
	h.alive(made.Secret)
	revoked := h.create(`{}`)
	h.ask("DELETE", "/api/token/"+revoked.ID).cookie(cookie).send().want(http.StatusNoContent)
	h.ask("POST", rotatePath(revoked.ID)).cookie(cookie).send().want(http.StatusNotFound)
	ended := h.create(`{"expiresIn":"1h"}`)
	h.clock.Move(time.Hour)
	h.ask("POST", rotatePath(ended.ID)).cookie(cookie).send().want(http.StatusConflict)
	if n := h.happened(storage.ActionTokenRotate); n != 0 {
		t.Errorf("got %d rotations, want none", n)
	}
}

// TestRotationKeepsLimits: the new secret may do no more than the old one.
func TestRotationKeepsLimits(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	made := h.create(`{"scopes":["files"],"expiresIn":"3h","addresses":["192.0.2.0/24"]}`)
	next := h.ask("POST", rotatePath(made.ID)).cookie(cookie).send().newToken()
	if next.ExpiresOn != made.ExpiresOn {
		t.Errorf("got expiresOn %s, want %s", next.ExpiresOn, made.ExpiresOn)
	}
	for _, text := range []string{made.Secret, next.Secret, next.Secret} {
		h.ask("GET", "/api/tokens").token(text).send().want(http.StatusForbidden)
		h.ask("GET", verifyPath).token(text).from("198.51.100.1:1").send().wantGate().want(http.StatusUnauthorized)
		h.ask("GET", verifyPath).token(text).send().wantIdentity(alice, made.ID, "files")
	}
	h.dead(made.Secret)
	h.clock.Move(3 * time.Hour)
	h.dead(next.Secret)

	addressed := h.create(`{"addresses":["192.0.2.0/24"]}`)
	second := h.rotate(addressed.ID, addressed.Secret, "")
	h.ask("GET", verifyPath).token(second).from("198.51.100.1:1").send().want(http.StatusUnauthorized)
	h.alive(addressed.Secret) // from the wrong address, the new one was not used
	h.alive(second)
	h.dead(addressed.Secret)
}

// TestRevokeRotated: a revocation with either secret ends both, and an ended secret
// can't revoke.
func TestRevokeRotated(t *testing.T) {
	h := newHouse(t)
	for i := range 4 {
		made := h.create(`{}`)
		next := h.rotate(made.ID, made.Secret, "")
		switch i {
		case 0:
			h.ask("GET", "/api/revokeApiToken").token(made.Secret).send().want(http.StatusOK, "{}")
		case 1:
			h.ask("POST", "/api/revoke").form("token=" + next).send().want(http.StatusOK)
		case 2:
			h.ask("DELETE", "/api/token/"+made.ID).token(made.Secret).send().want(http.StatusNoContent)
		case 3:
			must.Get(h.admin.Revoke(t.Context(), api.Revocation{IDs: []string{made.ID}}))(t)
		}
		h.dead(made.Secret)
		h.dead(next)
		h.restart()
		h.dead(made.Secret)
		h.dead(next)
	}
	made := h.create(`{}`)
	next := h.rotate(made.ID, made.Secret, `{"overlap":"0"}`)
	h.ask("GET", "/api/revokeApiToken").token(made.Secret).send().want(http.StatusOK, "{}")
	h.ask("POST", "/api/revoke").form("token="+made.Secret).send().want(http.StatusOK, "{}")
	h.alive(next)
}

// TestStaleSecret: the use of an ended secret is an event, at most one a minute.
func TestStaleSecret(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	next := h.rotate(made.ID, made.Secret, "")
	h.alive(made.Secret)
	h.alive(next)
	if n := h.happened(storage.ActionTokenStale); n != 0 {
		t.Fatalf("got %d events before an ended secret was used", n)
	}
	for range 3 {
		for range 20 {
			h.dead(made.Secret)
			h.ask("GET", verifyPath).token(made.Secret).send().want(http.StatusUnauthorized)
		}
		h.clock.Move(time.Minute)
	}
	h.restart() // what is noted is written by then
	if n := h.happened(storage.ActionTokenStale); n != 3 {
		t.Errorf("got %d events in three minutes, want 3", n)
	}
	for e, err := range h.admin.Events(t.Context(), api.EventQuery{}) {
		if err == nil && e.Action == storage.ActionTokenStale && (e.Token != made.ID || e.UID != alice || e.Address != "192.0.2.1") {
			t.Errorf("got %+v, want the id, the owner and the address", e)
		}
	}
	if h.happened(storage.ActionTokenRetire) != 1 {
		t.Error("there is not exactly one event for the end of the old secret")
	}
}

// TestWornOut: a token has 256 secrets.
func TestWornOut(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	secret, seen := made.Secret, map[string]bool{made.Secret: true}
	for i := range 255 {
		secret = h.rotate(made.ID, secret, `{"overlap":"1h"}`)
		if seen[secret] {
			t.Fatalf("rotation %d gives an older secret", i)
		}
		seen[secret] = true
	}
	h.alive(secret)
	h.ask("POST", rotatePath(made.ID)).token(secret).send().want(http.StatusConflict)
	h.ask("POST", rotatePath(made.ID)).cookie(h.login(alice, password)).send().want(http.StatusConflict)
	h.alive(secret)
	h.dead(made.Secret)
}

// TestFirstUsesTogether: many use the new secret at once. When one of them has
// an answer, the old one is dead; the change is written once.
func TestFirstUsesTogether(t *testing.T) {
	h := newHouse(t)
	for range 10 {
		made := h.create(`{}`)
		next := h.rotate(made.ID, made.Secret, "")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if got := h.ask("GET", verifyPath).token(next).send(); got.code != http.StatusOK {
					t.Errorf("the new secret: got %d", got.code)
				}
				if got := h.ask("GET", verifyPath).token(made.Secret).send(); got.code != http.StatusUnauthorized {
					t.Errorf("the old secret, after the new one: got %d", got.code)
				}
			})
			all.Go(func() { h.ask("GET", verifyPath).token(made.Secret).send().wantGate() })
		}
		all.Wait()
	}
	if got := h.happened(storage.ActionTokenRetire); got != 10 {
		t.Errorf("got %d events of ended secrets, want 10", got)
	}
}

// TestRotationsTogether: many ask at once, and all are given the same secret.
func TestRotationsTogether(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	cookie := h.login(alice, password)
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[string]bool{}
	for i := range 16 {
		all.Go(func() {
			a := h.ask("POST", rotatePath(made.ID))
			if i%2 == 0 {
				a.token(made.Secret)
			} else {
				a.cookie(cookie)
			}
			reply := a.send()
			if reply.code != http.StatusOK {
				t.Errorf("got %d %s", reply.code, reply.text)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got[reply.text] = true
		})
	}
	all.Wait()
	if len(got) != 1 {
		t.Errorf("got %d different answers, want 1", len(got))
	}
}

// TestRotationTooLate: a request that was let in by the old secret, and sent its body
// only after the new one was in use, gets nothing.
func TestRotationTooLate(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{}`)
	next := h.rotate(made.ID, made.Secret, "")
	a := h.ask("POST", rotatePath(made.ID)).token(made.Secret).json(`{}`)
	a.r.Body = slowBody{func() { h.alive(next) }}
	a.send().want(http.StatusUnauthorized, credentialsRequired)
	h.alive(next)
}

// slowBody is an empty body. It calls a function before its end.
type slowBody struct{ during func() }

func (b slowBody) Read([]byte) (int, error) {
	b.during()
	return 0, io.EOF
}

func (slowBody) Close() error { return nil }
