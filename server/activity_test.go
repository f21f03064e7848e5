package server

import (
	"net/http"
	"os"
	"testing"
	"time"

	"gatehouse/server/api"
)

func TestActivity(t *testing.T) {
	h := newHouse(t)
	made := h.create("")
	a := h.activity
	a.last = h.metrics.totals()
	for range 3 {
		h.alive(made.Secret)
	}
	h.dead("nonsense")
	h.ask("POST", "/api/authenticate/userpass").json(`{"username":"alice@example.com","password":"wrong"}`).send().want(http.StatusUnauthorized)
	if _, err := h.admin.Revoke(h.Context(), api.Revocation{IDs: []string{made.ID}}); err != nil {
		t.Fatal(err)
	}
	before := a.view(time.Now())
	a.second(h.metrics.totals())
	v := a.view(time.Now())
	last := len(v.Requests) - 1
	if last != shownSeconds-1 || v.Requests[last] < 5 || v.Refused[last] < 2 || v.Revoked[last] != 1 {
		t.Errorf("got %d requests, %d refused, %d revoked in the last of %d seconds", v.Requests[last], v.Refused[last], v.Revoked[last], last+1)
	}
	if before.Requests[last] != 0 {
		t.Error("a second is shown that is not over")
	}
	a.second(h.metrics.totals())
	if v := a.view(time.Now()); v.Requests[last] != 0 || v.Requests[last-1] < 5 {
		t.Errorf("a second later: got %v", v.Requests[last-1:])
	}
}

func TestVerificationTimes(t *testing.T) {
	var a activity
	now := time.Unix(1_800_000_000, 0)
	if p50, p99 := a.quantiles(now); p50 != 0 || p99 != 0 {
		t.Errorf("without any: got %v and %v", p50, p99)
	}
	for n := range 100 {
		took := 10 * time.Microsecond
		if n >= 98 {
			took = 3 * time.Millisecond
		}
		a.verification(now.Add(-time.Duration(n%50)*time.Second), took)
	}
	a.verification(now.Add(-2*time.Minute), time.Hour)
	if p50, p99 := a.quantiles(now); p50 < 0.01 || p50 > 0.0125 || p99 < 3 || p99 > 3.75 {
		t.Errorf("got %v and %v, want 0.01 and 3 ms, and a quarter more at most", p50, p99)
	}
	if p50, _ := a.quantiles(now.Add(2 * time.Minute)); p50 != 0 {
		t.Errorf("two minutes later: got %v, want nothing", p50)
	}
	for _, took := range []time.Duration{0, time.Microsecond, 1700 * time.Nanosecond, 999 * time.Microsecond, 12 * time.Millisecond, time.Second} {
		top := time.Duration(bucketTop(bucketOf(took)) * float64(time.Millisecond))
		if top < took || top > max(took, time.Microsecond)*5/4+time.Nanosecond {
			t.Errorf("%v counts as up to %v", took, top)
		}
	}
}

func TestBackupIsRemembered(t *testing.T) {
	h := newHouse(t)
	status := func() api.StoreHealth {
		st, err := h.admin.Status(h.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Store
	}
	if got := status(); got.LastBackup != 0 || got.Free <= 0 || got.Bytes <= 0 || got.Problem != "" {
		t.Errorf("before: got %+v", got)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		err = h.admin.Backup(h.Context(), null)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.close()
	h.open()
	if got := status(); got.LastBackup != h.clock.Milli() {
		t.Errorf("after a restart: got %+v, want a backup at %d", got, h.clock.Milli())
	}
}
