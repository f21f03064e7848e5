package datadir

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest/must"
)

// confused signs a logout token with a published key as if that were a shared secret
// (RFC 8725, section 2.1).
func confused(t *testing.T, s *oauthtest.Server, claims string) (tokens []string) {
	t.Helper()
	resp := must.Get(http.Get(s.URL + "/keys"))(t)
	defer resp.Body.Close()
	raw := must.Get(io.ReadAll(resp.Body))(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(raw, &set); err != nil || len(set.Keys) == 0 {
		t.Fatalf("got %s, %v", raw, err)
	}
	der := must.Get(x509.MarshalPKIXPublicKey(set.Keys[0].Key))(t)
	for _, key := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), bytes.TrimSpace(raw)} {
		signer := must.Get(jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: key, KeyID: set.Keys[0].KeyID}}, nil))(t)
		signed := must.Get(signer.Sign([]byte(claims)))(t)
		token := must.Get(signed.CompactSerialize())(t)
		tokens = append(tokens, token)
	}
	return tokens
}

// hostileLogouts sends what no honest provider does. Nobody is logged out or stopped, and the
// server goes on.
func hostileLogouts(t *testing.T, file string) {
	g, s, people := beside(t, file, "logout_suspends = true")
	g.start()
	token := g.logIn("ada@example.com")
	sub := fmt.Sprint(people["ada@example.com"].ID)
	ada := func(claims, _ map[string]any) { claims["sub"] = sub }
	send := func(logout string) int {
		resp, err := http.PostForm("http://"+g.listen+"/api/backchannel-logout/corp", url.Values{"logout_token": {logout}})
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	claims := must.Get(base64.RawURLEncoding.DecodeString(strings.Split(s.LogoutToken(ada), ".")[1]))(t)
	list := confused(t, s, string(claims))
	list = append(list, strings.Repeat("x", 60<<10), s.LogoutToken(func(c, h map[string]any) { ada(c, h); c["pad"] = strings.Repeat("x", 30<<10) }))
	old := s.LogoutToken(ada)
	s.RotateKeys("2")
	for n, one := range list {
		if got := send(one); got != http.StatusBadRequest {
			t.Errorf("%d: got %d", n, got)
		}
	}
	if !g.works(token) {
		t.Fatal("ada is stopped")
	}
	for end := time.Now().Add(patience); send(s.LogoutToken(ada)) != http.StatusOK; time.Sleep(time.Second) { // the keys are fetched every ten seconds
		if time.Now().After(end) {
			t.Fatal("a token with the new key does not count")
		}
	}
	if g.works(token) {
		t.Error("ada is not stopped")
	}
	if got := send(old); got != http.StatusBadRequest {
		t.Errorf("with a key that is no longer published: got %d", got)
	}

	token = g.logIn("ada@example.com")
	s.Asked()
	var wg sync.WaitGroup
	var next, strange atomic.Int64
	for range 32 {
		wg.Go(func() {
			for next.Add(1) <= 2000 {
				if got := send(strings.Replace(old, ".", "A.", 1)); got != http.StatusBadRequest && got != http.StatusTooManyRequests {
					strange.Add(1)
				}
			}
		})
	}
	wg.Wait()
	asked := slices.DeleteFunc(s.Asked(), func(what string) bool {
		return what == "POST /token" || what == "GET /userinfo" // about people, each second
	})
	if n := strange.Load(); n > 0 || len(asked) > 50 {
		t.Errorf("of 2000 bad logout tokens, %d got another answer; the provider was asked %d times", n, len(asked))
	}
	if !g.works(token) {
		t.Error("ada is stopped")
	}
}

// hostileProvider answers questions about people with all that a provider in trouble, or a
// proxy in front of it, may answer. Nobody is suspended.
func hostileProvider(t *testing.T, file string) {
	g, s, _ := beside(t, file)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer elsewhere.Close()
	g.start()
	const mail = "ada@example.com"
	for name, do := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"page":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>invalid_grant</html>") },
		"plain text": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"error":"server_error"}`) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"error":"`+strings.Repeat("x", 4<<20)+`"}`)
		},
		"error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadGateway)
		},
		"limit": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			http.Error(w, `{}`, http.StatusTooManyRequests)
		},
	} {
		token := g.logIn(mail)
		s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !oauthtest.IsRefresh(r) {
				return false
			}
			do(w, r)
			return true
		})
		for range 2 {
			before := g.show(mail).Rechecks[0].Asked
			g.await("another question", func() bool { return g.show(mail).Rechecks[0].Asked > before })
		}
		if a := g.show(mail); !g.works(token) || a.State != "active" {
			t.Errorf("%s: got %+v", name, a)
		}
		s.Intercept(nil)
	}
}
