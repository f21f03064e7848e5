package server_test

import (
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest"
)

// TestRaces ends a credential while it is being used. A request from before the end gets
// 200, and a request after the end was answered is refused. In between either may happen,
// and nothing else.
func TestRaces(t *testing.T) {
	storagetest.Slow(t)
	h := newHouse(t)
	type race struct {
		use, end func() *ask // end: nil for one that end2 makes
		end2     func() error
	}
	by := func(token string) func() *ask {
		return func() *ask { return h.ask("GET", verifyPath).token(token) }
	}
	user := 0
	another := func() (uid, token string) {
		user++
		uid = string(rune('a'+user/26)) + string(rune('a'+user%26)) + "@example.com"
		h.addUser(uid, password)
		return uid, h.userpass(uid, password).newToken().Secret
	}
	for name, begin := range map[string]func() race{
		"revoked by itself": func() race {
			token := h.token()
			return race{use: by(token), end: func() *ask { return h.ask("GET", "/api/revokeApiToken").token(token) }}
		},
		"revoked by its id": func() race {
			made := h.create(`{}`)
			cookie := h.login(alice, password)
			return race{use: by(made.Secret), end: func() *ask { return h.ask("DELETE", "/api/token/"+made.ID).cookie(cookie) }}
		},
		"revoked by RFC 7009": func() race {
			token := h.token()
			return race{use: by(token), end: func() *ask { return h.ask("POST", "/api/revoke").form("token=" + token) }}
		},
		"revoked by an administrator": func() race {
			made := h.create(`{}`)
			return race{use: by(made.Secret), end2: func() error {
				_, err := h.admin.Revoke(t.Context(), api.Revocation{IDs: []string{made.ID}})
				return err
			}}
		},
		"a token with limits": func() race {
			made := h.create(`{"scopes":["files"],"addresses":["192.0.2.0/24"],"expiresIn":"1h"}`)
			return race{use: by(made.Secret), end: func() *ask { return h.ask("DELETE", "/api/token/"+made.ID).token(made.Secret) }}
		},
		"rotated, and the new secret used": func() race {
			made := h.create(`{}`)
			next := h.rotate(made.ID, made.Secret, "")
			return race{use: by(made.Secret), end: func() *ask { return h.ask("GET", "/api/token").token(next) }}
		},
		"a disabled user": func() race {
			uid, token := another()
			return race{use: by(token), end2: func() error { return h.admin.DisableUser(t.Context(), uid) }}
		},
		"a removed user": func() race {
			uid, token := another()
			return race{use: by(token), end2: func() error { return h.admin.RemoveUser(t.Context(), uid) }}
		},
		"a logout": func() race {
			cookie := h.login(alice, password)
			return race{
				use: func() *ask { return h.ask("GET", "/api/tokens").cookie(cookie) },
				end: func() *ask { return h.ask("POST", "/api/logout").cookie(cookie) },
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				r := begin()
				var begun, ended atomic.Bool
				var used atomic.Int64
				var uses sync.WaitGroup
				for range 4 {
					uses.Go(func() {
						for last := false; !last; {
							last = ended.Load() // before the request: it must be refused then
							a := r.use().send()
							switch {
							case a.code != http.StatusOK && a.code != http.StatusUnauthorized:
								t.Errorf("got %d (%.200s)", a.code, a.text)
							case a.code == http.StatusOK && last:
								t.Error("it works after its end was answered")
							case a.code != http.StatusOK && !begun.Load():
								t.Errorf("got %d before its end began", a.code)
							}
							used.Add(1)
						}
					})
				}
				for used.Load() < 8 {
					runtime.Gosched()
				}
				begun.Store(true)
				if r.end2 != nil {
					if err := r.end2(); err != nil {
						t.Error(err)
					}
				} else if a := r.end().send(); a.code >= 300 {
					t.Errorf("the end: got %d (%.200s)", a.code, a.text)
				}
				ended.Store(true)
				uses.Wait()
			}
		})
	}
}

// TestRotationRace rotates a token over and over, with the newest secret, while the token
// is used: at every moment the latest secret works.
func TestRotationRace(t *testing.T) {
	storagetest.Slow(t)
	h := newHouse(t)
	made := h.create(`{}`)
	var newest atomic.Pointer[string]
	newest.Store(&made.Secret)
	var done atomic.Bool
	var uses sync.WaitGroup
	for range 4 {
		uses.Go(func() {
			for !done.Load() {
				secret := newest.Load()
				// A later secret may have been used in between, which ends this one.
				if a := h.ask("GET", verifyPath).token(*secret).send(); a.code != http.StatusOK && newest.Load() == secret {
					t.Errorf("the newest secret: got %d (%.200s)", a.code, a.text)
				}
			}
		})
	}
	for range 60 {
		next := h.rotate(made.ID, *newest.Load(), "")
		newest.Store(&next)
	}
	done.Store(true)
	uses.Wait()
	h.alive(*newest.Load())
}
