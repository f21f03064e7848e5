package server

import (
	"net/http"
	"slices"
	"strconv"
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

// TestRevokeFound: a token is revoked because a secret of it was found that works, or
// will work again. The audit log says once where. What proves nothing ends nothing.
func TestRevokeFound(t *testing.T) {
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
	var finds api.Finds
	for _, text := range []string{live.Secret, live.Secret, revoked.Secret, expired.Secret, rotated.Secret, both.Secret, after, suspended, foreign, flip(live.Secret, 99), live.ID, ""} {
		finds.Finds = append(finds.Finds, api.Find{Token: text, Place: "leak:" + strconv.Itoa(len(finds.Finds))})
	}
	for times, want := range []int{3, 0} {
		if n, err := h.admin.RevokeFound(t.Context(), finds); err != nil || n.Revoked != want {
			t.Errorf("time %d: got %d, %v, want %d", times, n.Revoked, err, want)
		}
	}
	if err := h.admin.EnableUser(t.Context(), "off@example.com"); err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]int{live.Secret: 401, both.Secret: 401, after: 401, suspended: 401, next: 200} {
		h.ask("GET", "/api/verify").token(secret).send().want(want)
	}
	var places []string
	for e, err := range h.admin.Events(t.Context(), api.EventQuery{Filters: api.Where("action", storage.ActionTokenFound)}) {
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, e.UID+" "+e.Token+" "+e.Detail)
	}
	slices.Sort(places)
	want := []string{alice + " " + live.ID + " leak:0", alice + " " + both.ID + " leak:5", "off@example.com " + suspended[:28] + " leak:7"}
	slices.Sort(want)
	if !slices.Equal(places, want) {
		t.Errorf("got %q, want %q", places, want)
	}
	if n := h.happened(storage.ActionTokenRevoke); n != 4 {
		t.Errorf("got %d revocations, want 4", n)
	}

	_, err := h.admin.RevokeFound(t.Context(), api.Finds{Finds: make([]api.Find, api.MaxFinds+1)})
	wantStatus(t, "too many", err, http.StatusBadRequest)
	for _, place := range []string{"", strings.Repeat("x", api.MaxPlace+1)} {
		_, err = h.admin.RevokeFound(t.Context(), api.Finds{Finds: []api.Find{{Token: next, Place: place}}})
		wantStatus(t, "the place "+place, err, http.StatusBadRequest)
	}
	most := api.Finds{}
	for range api.MaxFinds {
		most.Finds = append(most.Finds, api.Find{Token: next, Place: strings.Repeat(`\`, api.MaxPlace)})
	}
	if n, err := h.admin.RevokeFound(t.Context(), most); err != nil || n.Revoked != 1 {
		t.Errorf("as many as are allowed: got %d, %v", n.Revoked, err)
	}
}
