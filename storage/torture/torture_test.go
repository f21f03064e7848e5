package main

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestMain lets the test binary act as the child of a test.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// short is a short run of the command.
func short(t *testing.T, rounds int) *torture {
	storagetest.Slow(t)
	t.Parallel() // these tests wait more than they compute
	return newTorture(rounds, t.TempDir(), 1, t.Logf)
}

func held(t *testing.T, to *torture, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range to.table {
		t.Logf("%s: %d rounds, %d acknowledged, %s", r.what, r.rounds, r.acked, r.note)
		if r.wrong > 0 || r.acked == 0 {
			t.Errorf("%s, %s: got %d wrong of %d acknowledged", r.what, r.note, r.wrong, r.acked)
		}
	}
}

func TestKill(t *testing.T) {
	to := short(t, 4)
	held(t, to, to.kill())
}

func TestPower(t *testing.T) {
	to := short(t, 2)
	err := to.power()
	if errors.Is(err, errNoMachine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	held(t, to, err)
}

func TestAbort(t *testing.T) {
	to := short(t, 4)
	err := to.abort()
	if errors.Is(err, errNoMachine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	held(t, to, err)
}

func TestRot(t *testing.T) {
	to := short(t, 3)
	held(t, to, to.rot())
}

func TestClock(t *testing.T) {
	to := short(t, 5)
	held(t, to, to.clock())
}

// TestLedger makes sure that the ledger, on which the other tests rely, detects
// a loss.
func TestLedger(t *testing.T) {
	to := short(t, 1)
	l, dir := newLedger(), to.path("store")
	v := must.Get(start(l, "work", dir, "0s", "1", "0s", "40"))(t)
	must.Do(t, v.wait())
	for name, lie := range map[string]func(*ledger){
		"a token that was never made":   func(l *ledger) { l.Tokens["01"+fmt.Sprintf("%026d", 0)] = &holding{UID: uid(0, 0), Secret: "x"} },
		"a revocation that never was":   func(l *ledger) { first(l, false).Revoked = true },
		"a revocation that was":         func(l *ledger) { first(l, true).Revoked = false },
		"a user who was never disabled": func(l *ledger) { u := l.Users[uid(0, 0)]; u.Disabled = !u.Disabled },
		"a user of another id":          func(l *ledger) { l.Users[uid(1, 1)].ID = "0" },
		"a use that never was": func(l *ledger) {
			for id := range l.Tokens {
				l.Uses[id] = append(l.Uses[id], use{1, 1 << 50})
			}
		},
		"an event that was never written": func(l *ledger) { l.Fresh["token.revoke 0"]++ },
		"a token that was made and is not": func(l *ledger) {
			for id := range l.Tokens {
				delete(l.Tokens, id)
				return
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			must.Do(t, l.save(to.path("ledger")))
			liar := must.Get(loadLedger(to.path("ledger")))(t)
			lie(liar)
			if _, wrong, err := inspect(liar, dir, 0, true); len(wrong) == 0 || err != nil {
				t.Errorf("got nothing wrong, %v", err)
			}
		})
	}
	if _, wrong, err := inspect(l, dir, 0, true); len(wrong) > 0 || err != nil {
		t.Errorf("the truth: got %s, %v", some(wrong), err)
	}
}

func first(l *ledger, revoked bool) *holding {
	for _, h := range l.Tokens {
		if h.Revoked == revoked {
			return h
		}
	}
	return nil
}
