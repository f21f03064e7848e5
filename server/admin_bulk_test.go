package server_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

func TestBulkRevocation(t *testing.T) { bothWays(t, bulkStory) }

func bulkStory(h *house) {
	ctx, c := h.Context(), h.admin
	var made []api.NewToken
	for n := range 450 {
		tk := must.Get(c.CreateToken(ctx, api.TokenRequest{UID: alice, Name: fmt.Sprint(n)}))(h)
		made = append(made, tk)
	}
	h.clock.Move(100 * 24 * time.Hour)
	h.ask("GET", "/api/token").token(made[7].Secret).send().want(http.StatusOK)
	if st, err := c.Status(ctx); err != nil || st.Users != 1 || st.Tokens != 450 || st.Stale != 449 {
		h.Errorf("got %+v, %v, want 449 of 450 tokens stale", st, err)
	}
	bulkRefused(h)
	done := bulkStopped(h)

	// Now all of them, except the token in use.
	rows := collect(h.TB, c.RevokeMatching(ctx, api.BulkRevocation{Filters: api.Where("idle", "90d", "user", "ALICE@example.com")}))
	p := rows[len(rows)-1]
	if !p.Done || p.Stopped || p.Revoked != 449-done || p.Total != 449-done {
		h.Errorf("got %+v, want %d revoked", p, 449-done)
	}
	h.dead(made[0].Secret)
	h.alive(made[7].Secret)
	if st, err := c.Status(ctx); err != nil || st.Tokens != 1 || st.Stale != 0 {
		h.Errorf("got %+v, %v, want one token, not stale", st, err)
	}
	bulkNoted(h, p, made[3].ID)
}

// bulkRefused sends requests that revoke none of the 450 tokens, 449 of them stale.
func bulkRefused(h *house) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	for what, r := range map[string]api.BulkRevocation{"nothing": {}, "a set alone": {Set: "449-0"}, "a bad span": {Filters: api.Where("idle", "x")}, "a bad word": {Words: "idle:90d colour:red"}} {
		wantStatus(h.TB, what, failure(c.RevokeMatching(ctx, r)), http.StatusBadRequest)
	}
	wantStatus(h.TB, "nobody", failure(c.RevokeMatching(ctx, api.BulkRevocation{Filters: api.Where("user", "nobody@example.com")})), http.StatusNotFound)
	agreed := matching(h, api.TokenQuery{Words: "idle:90d"})
	if agreed.Rows != 449 {
		h.Errorf("got %+v, want 449 stale tokens", agreed)
	}
	for _, other := range []string{"450" + agreed.Set[3:], agreed.Set[:4] + "0", matching(h, api.TokenQuery{Words: "idle:1d"}).Set + "1"} {
		wantStatus(h.TB, "another set", failure(c.RevokeMatching(ctx, api.BulkRevocation{Words: "idle:90d", Set: other, At: agreed.At})), http.StatusConflict)
	}
	if n, err := c.TokenCount(ctx, api.TokenQuery{}); err != nil || n.Rows != 450 {
		h.Errorf("got %+v, %v, want nothing revoked of what was not agreed to", n, err)
	}
	wantStatus(h.TB, "no such job", c.StopRevocation(ctx, "X"), http.StatusNotFound)
}

// matching asks what a query would revoke.
func matching(h *house, q api.TokenQuery) api.Matching {
	h.Helper()
	m := must.Get(h.admin.Matching(h.Context(), q))(h)
	return m
}

// bulkStopped stops a revocation at once: the revoked tokens are counted and returned,
// and the rest live.
func bulkStopped(h *house) int {
	h.Helper()
	ctx, c := h.Context(), h.admin
	agreed := matching(h, api.TokenQuery{Filters: api.Where("idle", "90d")})
	var p api.Progress
	for next := range must.All(c.RevokeMatching(ctx, api.BulkRevocation{Words: "idle:90d", Set: agreed.Set, At: agreed.At}))(h) {
		if p = next; !p.Done && p.Revoked == 0 {
			c.StopRevocation(ctx, p.Job) // it may be over by now
		}
	}
	n, err := c.TokenCount(ctx, api.TokenQuery{})
	if err != nil || !p.Done || p.Total != 449 || n.Rows != 450-p.Revoked || p.Stopped == (p.Revoked == p.Total) {
		h.Errorf("got %+v, and %+v left, %v", p, n, err)
	}
	return p.Revoked
}

// bulkNoted checks that the audit log has the revocation as one event, and the revocation
// of each token, such as id.
func bulkNoted(h *house, p api.Progress, id string) {
	h.Helper()
	ctx, c := h.Context(), h.admin
	latest, err := c.History(ctx, api.HistoryQuery{UID: alice, Last: 1})
	if events := latest.Events; err != nil || len(events) != 1 || events[0].Action != "tokens.revoke" || events[0].Count != max(1, p.Revoked) || !strings.Contains(events[0].Detail, "idle 90d") {
		h.Errorf("got %+v, %v, want the event of the bulk", latest, err)
	}
	events := collect(h.TB, c.Events(ctx, api.EventQuery{Token: id}))
	var actions []string
	for _, e := range events {
		actions = append(actions, e.Action)
	}
	if want := []string{"token.create", "token.revoke"}; !slices.Equal(actions, want) {
		h.Errorf("the history of a token: got %v, want %v", actions, want)
	}
	latest, err = c.History(ctx, api.HistoryQuery{Token: id[:20]})
	if err != nil || !slices.Equal(latest.Events, events) || latest.Before != 0 {
		h.Errorf("the latest of it: got %+v, %v, want %+v, and nothing before", latest, err, events)
	}
}

// A token that is used after the bulk was counted, and before its turn, lives.
func TestBulkRevocationSparesWhatIsUsed(t *testing.T) {
	h := newHouse(t)
	var made []api.NewToken
	for range 600 {
		tk := must.Get(h.admin.CreateToken(h.Context(), api.TokenRequest{UID: alice}))(t)
		made = append(made, tk)
	}
	h.clock.Move(100 * 24 * time.Hour)
	first := true
	for p := range must.All(h.admin.RevokeMatching(context.Background(), api.BulkRevocation{Filters: api.Where("never-used", "true")}))(t) {
		if first { // nothing is revoked before the first line is taken
			first = false
			h.alive(made[5].Secret)
		}
		if p.Done && p.Revoked != p.Total-1 {
			t.Errorf("got %+v, want one spared", p)
		}
	}
	h.alive(made[5].Secret)
	h.dead(made[6].Secret)
}
