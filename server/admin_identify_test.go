package server_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// assorted are tokens in every state.
type assorted struct {
	live, revoked, expired, rotated, both api.NewToken
	next, after                           string // the new secrets of rotated, and of both, whose old one works too
	suspended                             string // of off@example.com
	foreign                               string // of another installation
}

// assorted makes tokens in every state, and moves the clock by an hour.
func (h *house) assorted() (l assorted) {
	l.live, l.revoked, l.expired = h.create(`{}`), h.create(`{}`), h.create(`{"expiresIn":"1h"}`)
	h.ask("GET", "/api/revokeApiToken").token(l.revoked.Secret).send().want(http.StatusOK)
	l.rotated = h.create(`{}`)
	l.next = h.rotate(l.rotated.ID, l.rotated.Secret, `{"overlap":"0"}`)
	l.both = h.create(`{}`)
	l.after = h.rotate(l.both.ID, l.both.Secret, `{"overlap":"2h"}`)
	h.addUser("off@example.com", password)
	l.suspended = h.userpass("off@example.com", password).newToken().Secret
	must.Do(h, h.admin.DisableUser(h.Context(), "off@example.com"))
	l.foreign = newHouse(h.TB).token()
	h.clock.Move(time.Hour)
	return l
}

func TestIdentify(t *testing.T) {
	h := newHouse(t)
	l := h.assorted()
	asked := []struct{ text, id, state string }{
		{l.live.Secret, l.live.ID, "live"}, {"", "", ""}, {l.revoked.Secret, l.revoked.ID, "revoked"}, {l.foreign, "", ""}, {l.expired.Secret, l.expired.ID, "expired"},
		{l.rotated.Secret, l.rotated.ID, "rotated"}, {l.next, l.rotated.ID, "live"}, {l.both.Secret, l.both.ID, "live"}, {l.after, l.both.ID, "live"},
		{l.suspended, l.suspended[:28], "suspended"}, {flip(l.live.Secret, 99), "", ""}, {l.live.Secret + "0", "", ""}, {l.live.ID, "", ""}, {l.live.Secret, l.live.ID, "live"},
	}
	var q api.Texts
	for _, a := range asked {
		q.Texts = append(q.Texts, a.text)
	}
	found := must.Get(h.admin.Identify(t.Context(), q))(t)
	for i, a := range asked {
		if got := found.Tokens[i]; got.ID != a.id || got.State != a.state {
			t.Errorf("%d: got %+v, want %s %s", i, got, a.id, a.state)
		}
	}
	if got := adminToken(h, l.live.ID); got.LastUsed != got.Created {
		t.Error("a scan counts as a use")
	}
	if n := h.happened(storage.ActionTokenStale); n != 0 {
		t.Errorf("a scan makes %d events", n)
	}
	_, err := h.admin.Identify(t.Context(), api.Texts{Texts: make([]string, api.MaxTexts+1)})
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
	l := h.assorted()
	var finds api.Finds
	for _, text := range []string{l.live.Secret, l.live.Secret, l.revoked.Secret, l.expired.Secret, l.rotated.Secret, l.both.Secret, l.after, l.suspended, l.foreign, flip(l.live.Secret, 99), l.live.ID, ""} {
		finds.Finds = append(finds.Finds, api.Find{Token: text, Place: "leak:" + strconv.Itoa(len(finds.Finds))})
	}
	for times, want := range []int{3, 0} {
		if n, err := h.admin.RevokeFound(t.Context(), finds); err != nil || n.Revoked != want {
			t.Errorf("time %d: got %d, %v, want %d", times, n.Revoked, err, want)
		}
	}
	must.Do(t, h.admin.EnableUser(t.Context(), "off@example.com"))
	for secret, want := range map[string]int{l.live.Secret: 401, l.both.Secret: 401, l.after: 401, l.suspended: 401, l.next: 200} {
		h.ask("GET", "/api/verify").token(secret).send().want(want)
	}
	var places []string
	for e := range must.All(h.admin.Events(t.Context(), api.EventQuery{Filters: api.Where("action", storage.ActionTokenFound)}))(t) {
		places = append(places, e.UID+" "+e.Token+" "+e.Detail)
	}
	slices.Sort(places)
	want := []string{alice + " " + l.live.ID + " leak:0", alice + " " + l.both.ID + " leak:5", "off@example.com " + l.suspended[:28] + " leak:7"}
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
		_, err = h.admin.RevokeFound(t.Context(), api.Finds{Finds: []api.Find{{Token: l.next, Place: place}}})
		wantStatus(t, "the place "+place, err, http.StatusBadRequest)
	}
	most := api.Finds{}
	for range api.MaxFinds {
		most.Finds = append(most.Finds, api.Find{Token: l.next, Place: strings.Repeat(`\`, api.MaxPlace)})
	}
	if n, err := h.admin.RevokeFound(t.Context(), most); err != nil || n.Revoked != 1 {
		t.Errorf("as many as are allowed: got %d, %v", n.Revoked, err)
	}
}
