package server_test

import (
	"errors"
	"math"
	"net/http"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestDroppedToken: after the store has dropped a token that was revoked long ago, the
// token gets the same answer as any other that does not work.
func TestDroppedToken(t *testing.T) {
	h := newHouse(t)
	gone := h.create(`{"name":"gone"}`)
	h.ask("GET", "/api/revokeApiToken").token(gone.Secret).send().want(http.StatusOK, "{}")
	h.clock.Move(time.Second)
	h.hold(2 * storage.KeepRevoked)
	u, err := h.store.User(alice)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := must.Get2(h.store.Page(storage.Owned{Owner: u.ID, Limit: math.MaxInt}))(t)
	for _, v := range list {
		must.Get(h.store.RevokeTokens(storage.Actor{Name: "tester"}, v.ID))(t)
	}
	id := must.Get(storage.ParseID(gone.ID))(t)
	for _, err = h.store.Token(id); err == nil; _, err = h.store.Token(id) {
		time.Sleep(time.Millisecond)
	}
	if !errors.Is(err, storage.ErrNoToken) {
		t.Fatal(err)
	}
	live := h.token()
	h.dead(gone.Secret)
	h.ask("GET", verifyPath).token(gone.Secret).send().want(http.StatusUnauthorized, credentialsRequired)
	h.ask("GET", "/api/revokeApiToken").token(gone.Secret).send().want(http.StatusOK, "{}")
	h.ask("POST", "/api/revoke").form("token=" + gone.Secret).send().want(http.StatusOK)
	h.ask("DELETE", "/api/token/"+gone.ID).token(live).send().want(http.StatusNotFound)
	h.ask("POST", "/api/introspect").token(live).form("token="+gone.Secret).send().want(http.StatusOK, `{"active":false}`)
	found, err := h.admin.Identify(t.Context(), api.Texts{Texts: []string{gone.Secret}})
	if err != nil || found.Tokens[0].State != api.StateRevoked {
		t.Errorf("got %+v, %v, want it revoked", found, err)
	}
	_, err = h.admin.Revoke(t.Context(), api.Revocation{IDs: []string{gone.ID}})
	wantStatus(t, "revoked by its id", err, http.StatusNotFound)
	for tk, err := range h.admin.Tokens(t.Context(), api.TokenQuery{Revoked: true}) {
		if err != nil || tk.ID == gone.ID {
			t.Errorf("it is listed, %v", err)
		}
	}
}
