package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/server/config"
)

// TestChangesPerUser makes every kind of change that leaves something behind, until the
// user's hour is full. Changes that end something still work, and so do those of other
// users.
func TestChangesPerUser(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(h *house, cookie, token string) answer
	}{
		{"POST /api/token", func(h *house, cookie, _ string) answer {
			return h.ask("POST", "/api/token").cookie(cookie).send()
		}},
		{"GET /api/createApiToken", func(h *house, cookie, _ string) answer {
			return h.ask("GET", "/api/createApiToken").cookie(cookie).send()
		}},
		{"userpass", func(h *house, _, _ string) answer { return h.userpass(alice, password) }},
		{"the page's form", func(h *house, cookie, _ string) answer {
			return h.ask("POST", "/tokens").cookie(cookie).form("name=x").send()
		}},
		{"rename", func(h *house, cookie, token string) answer {
			return h.ask("PATCH", "/api/token/"+token[:28]).cookie(cookie).json(`{"name":"again"}`).send()
		}},
		{"the page's rename", func(h *house, cookie, token string) answer {
			return h.ask("POST", "/tokens/"+token[:28]+"/rename").cookie(cookie).form("name=again").send()
		}},
		{"rotate", func(h *house, cookie, token string) answer {
			return h.ask("POST", "/api/token/"+token[:28]+"/rotate").cookie(cookie).json(`{"overlap":"1h"}`).send()
		}},
		{"recent file", func(h *house, _, token string) answer {
			return h.ask("POST", "/api/userRecentFiles").token(token).json(`{"id":1,"name":"a","revision":1,"path":"/a"}`).send()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 4 })
			h.addUser("bob@example.com", password)
			cookie, token := h.login(alice, password), h.token() // the first change
			for n := range 3 {
				h.clock.Move(10 * time.Minute)
				if got := c.send(h, cookie, token); got.code >= 400 {
					t.Fatalf("change %d: got %d (%.200s)", n+2, got.code, got.text)
				}
			}
			got := c.send(h, cookie, token)
			if got.code != http.StatusTooManyRequests || got.header.Get("Retry-After") != "1800" {
				t.Errorf("beyond the limit: got %d, Retry-After %q (%.200s), want 429 and 1800", got.code, got.header.Get("Retry-After"), got.text)
			}
			h.userpass("bob@example.com", password).want(http.StatusOK)
			h.alive(token)
			other := h.login(alice, password)
			h.ask("POST", "/api/logout").cookie(other).send().want(http.StatusNoContent)

			h.clock.Move(30 * time.Minute) // the first one no longer counts
			if got := c.send(h, cookie, token); got.code >= 400 {
				t.Errorf("after the hour: got %d (%.200s)", got.code, got.text)
			}
			if got := c.send(h, cookie, token); got.code != http.StatusTooManyRequests {
				t.Errorf("after one more: got %d, want 429", got.code)
			}
			h.ask("DELETE", "/api/token/"+token[:28]).cookie(cookie).send().want(http.StatusNoContent)
			h.dead(token)
		})
	}
}

// TestPasswordBeyondTheLimit: an intruder with a session can't keep the owner from ending
// it. A new password that ends no session counts like any other change.
func TestPasswordBeyondTheLimit(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 1 })
	cookie, stolen := h.login(alice, password), h.login(alice, password)
	h.ask("POST", "/api/token").cookie(stolen).send().newToken()
	h.ask("POST", "/api/token").cookie(stolen).send().want(http.StatusTooManyRequests)
	change := func(from, to string) answer {
		return h.ask("POST", "/api/password").cookie(cookie).json(`{"current":"` + from + `","new":"` + to + `"}`).send()
	}
	const other = "another long password"
	change(password, other).want(http.StatusNoContent)
	h.ask("GET", "/api/tokens").cookie(stolen).send().want(http.StatusUnauthorized)
	h.ask("GET", "/api/tokens").cookie(cookie).send().want(http.StatusOK)
	if got := change(other, password).want(http.StatusTooManyRequests); got.header.Get("Retry-After") == "" {
		t.Error("a refusal has no Retry-After")
	}
}

// TestChangesThatFail: what is refused leaves nothing behind, and is not counted.
func TestChangesThatFail(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 2 })
	cookie, token := h.login(alice, password), h.token()
	for range 10 {
		h.ask("POST", "/api/token").cookie(cookie).json(`{"scopes":["no good"]}`).send().want(http.StatusBadRequest)
		h.ask("PATCH", "/api/token/"+token[:28]).cookie(cookie).json(`{"name":"` + strings.Repeat("x", 9999) + `"}`).send().want(http.StatusBadRequest)
	}
	h.token()
	h.userpass(alice, password).want(http.StatusTooManyRequests)
}

func TestNoLimitOfChanges(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Limits.ChangesPerUser = 0 })
	cookie := h.login(alice, password)
	for range 50 {
		h.ask("POST", "/api/token").cookie(cookie).send().newToken()
	}
}
