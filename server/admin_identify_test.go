package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
)

func TestIdentify(t *testing.T) {
	h := newHouse(t)
	live, revoked, expired := h.create(`{}`), h.create(`{}`), h.create(`{"expiresIn":"1h"}`)
	h.ask("GET", "/api/revokeApiToken").token(revoked.Secret).send().want(http.StatusOK)
	rotated := h.create(`{}`)
	next := h.rotate(rotated.ID, rotated.Secret, `{"overlap":"0"}`)
	both := h.create(`{}`)
	after := h.rotate(both.ID, both.Secret, `{"overlap":"2h"}`)
	h.addUser("off@example.com", password)
	suspended := h.userpass("off@example.com", password).newToken().Secret
	if err := h.admin.DisableUser(t.Context(), "off@example.com"); err != nil {
		t.Fatal(err)
	}
	foreign := newHouse(t).token()
	h.clock.Move(time.Hour)
	asked := []struct{ text, id, state string }{
		{live.Secret, live.ID, "live"}, {"", "", ""}, {revoked.Secret, revoked.ID, "revoked"}, {foreign, "", ""}, {expired.Secret, expired.ID, "expired"},
		{rotated.Secret, rotated.ID, "rotated"}, {next, rotated.ID, "live"}, {both.Secret, both.ID, "live"}, {after, both.ID, "live"},
		{suspended, suspended[:28], "suspended"}, {flip(live.Secret, 99), "", ""}, {live.Secret + "0", "", ""}, {live.ID, "", ""}, {live.Secret, live.ID, "live"},
	}
	var q api.Texts
	for _, a := range asked {
		q.Texts = append(q.Texts, a.text)
	}
	found, err := h.admin.Identify(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range asked {
		if got := found.Tokens[i]; got.ID != a.id || got.State != a.state {
			t.Errorf("%d: got %+v, want %s %s", i, got, a.id, a.state)
		}
	}
	if got := adminToken(h, live.ID); got.LastUsed != got.Created {
		t.Error("a scan counts as a use")
	}
	if n := h.happened(storage.ActionTokenStale); n != 0 {
		t.Errorf("a scan makes %d events", n)
	}
	_, err = h.admin.Identify(t.Context(), api.Texts{Texts: make([]string, api.MaxTexts+1)})
	wantStatus(t, "too many", err, http.StatusBadRequest)
	if found, err := h.admin.Identify(t.Context(), api.Texts{Texts: []string{strings.Repeat("0", 256)}}); err != nil || found.Tokens[0].ID != "" {
		t.Errorf("got %+v, %v", found, err)
	}
	h.ask("POST", "/admin/identify").json(`{"texts":[]}`).send().want(http.StatusNotFound)
}
