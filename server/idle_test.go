package server_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

const idleAfter = 90 * day

// aged is a house with tokens that nobody has used for some days. Its clock can be set
// while time passes by itself.
type aged struct {
	*house
	tokens []string
	ids    []storage.ID
}

func newAged(t *testing.T, tokens int, age time.Duration) *aged {
	h := &aged{house: newHouse(t, func(c *config.Config) { c.Tokens.RevokeIdleAfter = config.Lifetime{Duration: idleAfter} })}
	h.house.close()
	h.boot = h.clock.Boot
	h.open()
	h.make(tokens)
	h.pass(age)
	return h
}

func (h *aged) make(n int) {
	h.Helper()
	u := must.Get(h.store.User(alice))(h)
	for range n {
		v, secret := must.Get2(h.store.CreateToken(storage.Actor{Name: alice}, u.ID, storage.TokenSpec{}))(h)
		h.tokens, h.ids = append(h.tokens, secret.Reveal()), append(h.ids, v.ID)
	}
}

// pass lets time pass, in steps that a running server would see.
func (h *aged) pass(d time.Duration) {
	h.clock.Pass(d)
	h.store.Now()
}

func (h *aged) restart() {
	h.Helper()
	h.house.close()
	h.open()
}

func (h *aged) sweep() {
	h.Helper()
	<-h.store.Loaded()
	h.Idle().Sweep()
}

// await waits for an event, which is written after the change that it reports.
func (h *aged) await(action string) {
	h.Helper()
	must.Happen(h, "an event "+action, func() bool { return len(h.told(action)) > 0 })
}

// wantRevoked asks the store, because using a token would change its last use.
func (h *aged) wantRevoked(n int) {
	h.Helper()
	got := 0
	for _, id := range h.ids {
		v := must.Get(h.store.Token(id))(h)
		if v.Revoked != 0 {
			got++
		}
	}
	if got != n {
		h.Errorf("%d tokens are revoked, want %d of %d", got, n, len(h.ids))
	}
}

func (h *aged) wantHeld(n, of int, why string) {
	h.Helper()
	held := must.Get(h.admin.Offboard(h.Context()))(h)
	st := must.Get(h.admin.Status(h.Context()))(h)
	if got := h.figures()[`gatehouse_held{act="revoke idle tokens"}`]; got != float64(n) {
		h.Errorf("got %v held in /metrics, want %d", got, n)
	}
	if n == 0 {
		if !held.Nothing() || len(st.HeldActs) > 0 || st.Clock != "" {
			h.Errorf("got %+v held, want nothing", held)
		}
		return
	}
	want := api.HeldAct{Action: api.HeldRevokeIdle, Count: n, Of: of, Shown: "gatehouse token list --idle 90d"}
	if len(held.Acts) != 1 || len(st.HeldActs) != 1 || st.HeldActs[0] != held.Acts[0] {
		h.Fatalf("got %+v held, and in the status %+v", held.Acts, st.HeldActs)
	}
	got := held.Acts[0]
	if !strings.Contains(got.Why, why) {
		h.Errorf("they are held because %q, want %q", got.Why, why)
	}
	if got.Why = ""; got != want {
		h.Errorf("got %+v held, want %+v", got, want)
	}
}

// TestWrongClockRevokesNothing sets the clock, sweeps, and sets it right: once while
// the server runs, and once with a restart at each step.
func TestWrongClockRevokesNothing(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"a year ahead": 365 * day, "ten years ahead": 3650 * day, "89 days ahead": 89 * day,
	} {
		for _, restart := range []bool{false, true} {
			h := newAged(t, 4, 2*day) // fewer than the brake lets go on
			step := func() {
				if restart {
					h.restart()
				}
				h.sweep()
			}
			h.clock.Move(wrong)
			step()
			h.wantRevoked(0)
			h.wantHeld(4, 4, "the clock says 20")
			h.await(storage.ActionClockDoubt)
			h.await(storage.ActionIdleHeld)
			for _, line := range []string{`level=WARN msg="the clock is in doubt`, `level=WARN msg="idle tokens are not revoked`} {
				if !strings.Contains(h.log.String(), line) {
					t.Errorf("%s: the log does not say %s", name, line)
				}
			}
			h.pass(66 * time.Second)
			h.sweep()
			h.wantRevoked(0)
			h.clock.Move(-wrong)
			step()
			h.wantRevoked(0)
			h.wantHeld(0, 0, "")
			for _, token := range h.tokens {
				h.alive(token)
			}
			h.pass(idleAfter) // and then they are idle
			step()
			h.wantRevoked(4)
		}
	}
}

// TestClockBehindRevokesNothing: a time before 1970 counts as no age, and a filter of 0
// means all.
func TestClockBehindRevokesNothing(t *testing.T) {
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(-1), time.UnixMilli(idleAfter.Milliseconds()), time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC)} {
		h := newAged(t, 4, 100*day)
		h.clock.Move(at.Sub(h.clock.Now()))
		h.sweep()
		h.restart()
		h.sweep()
		h.wantRevoked(0)
	}
}

// TestLongAbsence: a server that was stopped for a year, on a system that kept running,
// knows that a year has passed. With so many tokens idle, the brake holds.
func TestLongAbsence(t *testing.T) {
	h := newAged(t, 8, day)
	h.house.close()
	h.clock.Pass(365 * day)
	h.open()
	h.sweep()
	h.wantRevoked(0)
	h.wantHeld(8, 8, "more than a tenth")
}

// TestIdleBrake: only what a person confirms is done.
func TestIdleBrake(t *testing.T) {
	h := newAged(t, 20, idleAfter)
	h.make(30) // of these, none is idle
	h.sweep()
	h.wantRevoked(0)
	h.wantHeld(20, 50, "more than a tenth")
	h.await(storage.ActionIdleHeld)
	h.sweep() // it stays held
	h.wantRevoked(0)

	h.alive(h.tokens[7])
	h.pass(time.Second)
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	h.wantRevoked(19)
	h.alive(h.tokens[7])
	h.wantHeld(0, 0, "")
	h.await(storage.ActionIdleConfirm)
	if err := h.admin.ConfirmOffboard(t.Context()); err == nil {
		t.Error("nothing is held, and was confirmed")
	}
	// Five go by themselves.
	five := newAged(t, 5, idleAfter)
	five.sweep()
	five.wantRevoked(5)
	five.wantHeld(0, 0, "")
	// A tenth, too.
	tenth := newAged(t, 10, idleAfter)
	tenth.make(90)
	tenth.sweep()
	tenth.wantRevoked(10)
}

// TestConfirmClock: an administrator who says that the clock is right ends the doubt.
func TestConfirmClock(t *testing.T) {
	h := newAged(t, 3, day)
	h.clock.Move(365 * day)
	h.sweep()
	h.wantHeld(3, 3, "by the time that has passed")
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	h.wantRevoked(3)
	h.wantHeld(0, 0, "")
	h.restart()
	h.wantHeld(0, 0, "")

	h.clock.Move(time.Hour) // only the clock is in doubt
	held, err := h.admin.Offboard(t.Context())
	if err != nil || held.Clock == "" || len(held.Acts) != 0 {
		t.Errorf("got %+v, %v", held, err)
	}
	if h.figures()["gatehouse_clock_in_doubt"] != 1 {
		t.Error("/metrics does not tell of the clock")
	}
	must.Do(t, h.admin.ConfirmOffboard(t.Context()))
	h.wantHeld(0, 0, "")
	if got, ok := h.figures()["gatehouse_clock_in_doubt"]; got != 0 || !ok {
		t.Errorf("got a clock in doubt in /metrics: %v, %v", got, ok)
	}
}

// TestNoTimeToCome: after a clock was ahead, nobody is shown a time in the future. What
// is done when the clock is right again has its own time.
func TestNoTimeToCome(t *testing.T) {
	for _, restart := range []bool{false, true} {
		h := newAged(t, 2, day)
		h.clock.Move(3650 * day)
		h.alive(h.tokens[0])
		wrong := h.token()
		h.alive(wrong)
		if restart {
			h.restart()
		}
		h.clock.Move(-3650 * day)
		for _, ask := range []*ask{h.ask("GET", "/api/getApiTokens"), h.ask("GET", "/api/tokens")} {
			var list []api.Token
			ask.token(h.tokens[1]).send().want(200).into(&list)
			if len(list) != 3 {
				t.Fatalf("got %d tokens, want 3", len(list))
			}
			for _, v := range list {
				if now := h.clock.Milli(); v.Created > now || v.LastUsed > now || v.LastUsed < v.Created {
					t.Errorf("%+v: it is %d", v, now)
				}
			}
		}
		for _, token := range []string{h.tokens[0], wrong} {
			h.pass(time.Hour)
			h.alive(token)
			used := h.clock.Milli()
			h.pass(time.Hour)
			id, _, _ := h.store.Identify(token)
			if got := h.listed(h.tokens[1])[id.String()]; got.LastUsed != used || got.Created >= used {
				t.Errorf("it was created at %d and used at %d, want %d", got.Created, got.LastUsed, used)
			}
		}
		u, err := h.admin.User(t.Context(), alice)
		if err != nil || u.LastUsed > h.clock.Milli() {
			t.Errorf("the user's last use is %d, %v, and it is %d", u.LastUsed, err, h.clock.Milli())
		}
	}
}
